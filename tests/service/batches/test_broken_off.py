"""A request for a batch that breaks off leaves no job, whatever broke; a repeated one makes or finds a whole batch."""

import asyncio

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisAway

from jobs import redis_keys
from jobs.batches import Batches
from jobs.errors import NotReplicated
from jobs.queue import Queue

KEY = {"Idempotency-Key": "holiday"}


def images(picture, count=3):
    return [("image", (f"{n}.png", picture(size=(10 + n, 8)))) for n in range(count)]


def post(client, picture):
    return client.post("/batches", files=images(picture), headers=KEY)


def traces(valkey):
    """Returns the Redis keys that a job or a batch has."""
    return valkey.do(lambda redis: redis.keys("undegrade:job:*") + redis.keys("undegrade:b[la]*"))


def broken(original, error, calls, *, first):
    """Returns a method that does its work, and then fails at these calls; `first`: it fails before."""
    count = 0

    async def call(self, *words, **named):
        nonlocal count
        count += 1
        if first and count in calls:
            raise error
        answer = await original(self, *words, **named)
        if count in calls:
            raise error
        return answer

    return call


@pytest.fixture
def swift(monkeypatch):
    """Housekeeping that does not wait for half a minute."""
    monkeypatch.setattr("service.housekeeping.FORGET_S", 0.2)


def break_off(valkey):
    """Let the minute pass after which nobody's batches are withdrawn."""

    def past(redis):
        if batches := redis.zrange(redis_keys.OPEN_BATCHES, 0, -1):
            redis.zadd(redis_keys.OPEN_BATCHES, dict.fromkeys(batches, 1), xx=True)

    valkey.do(past)


@pytest.mark.parametrize("first", [True, False], ids=["the request was lost", "the answer was lost"])
@pytest.mark.parametrize("error", [RedisAway("gone"), NotReplicated("no replica")])
def test_an_image_that_cannot_be_queued_for_sure_leaves_nothing(client, valkey, picture, monkeypatch, error, first):
    monkeypatch.setattr(Queue, "submit", broken(Queue.submit, error, {2}, first=first))
    assert post(client, picture).status_code == 503
    assert traces(valkey) == []
    batch = post(client, picture)
    assert batch.status_code == 202 and batch.json()["counts"]["queued"] == 3


@pytest.mark.parametrize("error", [RedisAway("gone"), NotReplicated("no replica")])
def test_a_batch_whose_answer_was_lost_is_found_whole_by_the_repeated_request(
    client, valkey, picture, monkeypatch, error
):
    monkeypatch.setattr(Batches, "seal", broken(Batches.seal, error, {1}, first=False))
    assert post(client, picture).status_code == 503
    batch = post(client, picture)
    assert batch.status_code == 202 and batch.headers["Idempotency-Replayed"] == "true"
    assert batch.json()["counts"]["queued"] == 3
    assert valkey.do(lambda redis: redis.zcard(redis_keys.JOBS)) == 3


def test_jobs_of_an_api_process_that_died_are_removed_and_the_repeated_request_makes_a_batch(
    swift, service, valkey, picture, monkeypatch, eventually
):
    async def die(self, batch, *, broken=False):
        raise RedisAway("this process is gone")

    with monkeypatch.context() as dying:
        dying.setattr(Queue, "submit", broken(Queue.submit, RedisAway("gone"), {3}, first=True))
        dying.setattr(Batches, "withdraw", die)
        assert post(service.client, picture).status_code == 503
    assert valkey.do(lambda redis: redis.zcard(redis_keys.JOBS)) == 2
    assert valkey.do(lambda redis: redis.keys(redis_keys.BLOB + "*"))
    break_off(valkey)
    eventually(lambda: traces(valkey) == [])
    eventually(lambda: not valkey.do(lambda redis: redis.exists(redis_keys.OPEN_BATCHES)))
    batch = post(service.client, picture)
    assert batch.json()["counts"]["queued"] == 3


def test_a_request_that_stood_still_for_too_long_is_refused_and_can_be_repeated(
    swift, service, valkey, picture, monkeypatch, eventually
):
    seal = Batches.seal

    async def late(self, *words):
        break_off(valkey)
        while valkey.do(lambda redis: redis.exists(redis_keys.OPEN_BATCHES)):
            await asyncio.sleep(0.05)
        await seal(self, *words)

    with monkeypatch.context() as slow:
        slow.setattr(Batches, "seal", late)
        refused = post(service.client, picture)
    assert refused.status_code == 503 and "Retry-After" in refused.headers
    assert traces(valkey) == []
    assert post(service.client, picture).json()["counts"]["queued"] == 3


def test_a_slow_client_keeps_its_batch_open(service, valkey, picture, monkeypatch, eventually):
    monkeypatch.setattr("service.batches.intake.HOLD_S", 0.05)
    request = httpx.Request("POST", "http://x", files=images(picture))
    body = request.read()

    def in_pieces():
        cut = body.rindex(b"--" + request.headers["content-type"].partition("boundary=")[2].encode(), 0, -60)
        yield body[:cut]
        eventually(lambda: valkey.do(lambda redis: redis.zcard(redis_keys.JOBS)))
        for _ in range(3):
            break_off(valkey)
            eventually(
                lambda: valkey.do(lambda redis: redis.zrange(redis_keys.OPEN_BATCHES, 0, 0, withscores=True))[0][1] > 1
            )
        yield body[cut:]

    answer = service.client.post(
        "/batches", content=in_pieces(), headers={"Content-Type": request.headers["content-type"]}
    )
    assert answer.status_code == 202 and answer.json()["counts"]["queued"] == 3
