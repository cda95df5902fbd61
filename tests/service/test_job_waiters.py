"""Waits of a real service on a real Valkey: woken by their own job, without the look that comes every POLL_S."""

import asyncio
import threading

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.changes import Changes, channels_of
from jobs.end_tasks import end_tasks
from jobs.queue import Queue
from service.job_waiters import JobWaiters


@pytest.fixture(autouse=True)
def no_poll(monkeypatch):
    """Only a message can wake a wait."""
    monkeypatch.setattr("service.job_waiters.POLL_S", 3600)


def channels(valkey):
    return {name.decode() for name in valkey.do(lambda redis: redis.pubsub_channels("undegrade:*"))}


def in_thread(action):
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_waits_and_streams_are_woken_by_their_own_job_and_leave_no_subscription(
    service, client, valkey, toy, submitted, eventually
):  # fmt: skip
    waited, streamed, other = (submitted()["id"] for _ in range(3))
    assert channels(valkey) == set(), "nobody waits"
    found = {}

    def wait():
        found["wait"] = httpx.get(f"{service.url}/jobs/{waited}?wait=60", timeout=60).json()["status"]

    def stream():
        found["stream"] = httpx.get(f"{service.url}/jobs/{streamed}/events", timeout=60).text

    threads = [in_thread(wait), in_thread(stream)]
    eventually(lambda: channels(valkey) == {*channels_of(waited, True), *channels_of(streamed, False)})
    client.delete(f"/jobs/{other}")
    assert not found
    toy()
    for thread in threads:
        thread.join(30)
    assert found["wait"] == "succeeded" and "event: completed" in found["stream"]
    eventually(lambda: channels(valkey) == set())


def test_a_client_that_hangs_up_leaves_no_subscription(service, valkey, submitted, eventually):
    job = submitted()["id"]
    with httpx.stream("GET", f"{service.url}/jobs/{job}/events") as answer:
        lines = answer.iter_lines()  # httpx hangs up when it is dropped
        next(lines)
        eventually(lambda: len(channels(valkey)) == 2)
    eventually(lambda: channels(valkey) == set())


def test_a_batch_is_woken_by_the_ends_of_its_images(client, valkey, toy, picture, eventually):
    files = [("images", (f"{number}.png", picture(), "image/png")) for number in range(2)]
    batch = client.post("/batches", files=files).json()
    thread = in_thread(lambda: client.get(f"/batches/{batch['id']}/events"))
    eventually(lambda: len(channels(valkey)) == 2)
    toy()
    thread.join(30)
    assert not thread.is_alive()
    eventually(lambda: channels(valkey) == set())


def test_waits_on_two_servers_are_woken_each_by_its_own(two_valkeys, serve, toy, picture, eventually):
    service = serve(redis_url=" ".join(server.url for server in two_valkeys), store_url="redis://")
    png = {"content-type": "image/png"}
    jobs = [service.client.post("/restore", content=picture(), headers=png).json()["id"] for _ in range(4)]
    answers = []

    def wait(job):
        answers.append(httpx.get(f"{service.url}/jobs/{job}?wait=60", timeout=60).json()["status"])

    threads = [in_thread(lambda job=job: wait(job)) for job in jobs]
    eventually(lambda: sum(len(channels(server)) for server in two_valkeys) == 4)
    assert all(channels(server) for server in two_valkeys)
    for server in two_valkeys:
        toy(url=server.url)
    for thread in threads:
        thread.join(30)
    assert answers == ["succeeded"] * 4
    eventually(lambda: not any(channels(server) for server in two_valkeys))


def test_a_wait_goes_on_after_the_server_restarted(serve, mortal_valkey, toy, picture, eventually):
    service = serve(redis_url=mortal_valkey.url)
    job, lines = service.client.post("/restore", files={"image": picture()}).json()["id"], []

    def watch():
        with httpx.stream("GET", f"{service.url}/jobs/{job}/events", timeout=60) as answer:
            lines.extend(answer.iter_lines())

    thread = in_thread(watch)
    eventually(lambda: len(channels(mortal_valkey)) == 2)
    mortal_valkey.kill()
    mortal_valkey.start()
    eventually(lambda: len(channels(mortal_valkey)) == 2)
    toy(url=mortal_valkey.url)
    thread.join(30)
    assert "event: completed" in lines
    eventually(lambda: channels(mortal_valkey) == set())


class Reader:
    """Does what a request does: ready, then read, wait, read..."""

    def __init__(self, waiters, redis, job):
        self.seen, self.job = 0, job
        self._waiters, self._redis = waiters, redis
        self.task = asyncio.create_task(self._run())

    async def _run(self):
        with self._waiters.register(self.job, None) as waiter:
            await waiter.ready()
            while True:
                try:
                    self.seen = int(await self._redis.get(f"undegrade:job:{self.job}") or 0)
                except RedisError:
                    await asyncio.sleep(0.01)
                    continue
                await waiter.wait(3600)


class HeldBack:
    """A connection whose commands wait until the gate is open: subscriptions arrive at any time."""

    def __init__(self, connection, gate):
        self._connection, self._gate = connection, gate

    async def send_command(self, *words, **named):
        await self._gate.wait()
        await self._connection.send_command(*words, **named)


class LateChanges(Changes):
    """Changes whose subscriptions wait for the gate."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def _write(self, connection):
        await super()._write(HeldBack(connection, self.gate))


CHANGE = "redis.call('INCR', 'undegrade:job:' .. ARGV[1]) redis.call('PUBLISH', 'undegrade:changed:' .. ARGV[1], '')"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["enter", "leave", "change"]), st.sampled_from(["a", "b"])),
        st.tuples(st.just("pause"), st.integers(0, 6)),
        st.tuples(st.sampled_from(["cut", "hold", "go on"]), st.none()),
    ),
    max_size=25,
)


@given(steps=STEPS)
@example(steps=[("hold", None), ("enter", "a"), ("pause", 6), ("change", "a"), ("pause", 6)])
@example(steps=[("enter", "a"), ("pause", 6), ("hold", None), ("leave", "a"), ("pause", 6), ("enter", "a"),
                ("pause", 6), ("change", "a"), ("go on", None), ("pause", 6)])  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_no_change_is_missed_in_whatever_order_readers_come_and_go(_valkey, steps):
    """Each step may fall between a subscription, its answer and a read.  In the end, each reader has read the end."""

    async def scenario():
        async with Redis.from_url(_valkey.url) as redis:
            await redis.delete("undegrade:job:a", "undegrade:job:b")
            waiters = JobWaiters(Queue(redis), 1000)
            changes = waiters._changes[0] = LateChanges()
            listener, readers, leaving = asyncio.create_task(waiters.listen()), [], []
            while not changes._connected:
                await asyncio.sleep(0)
            for step, which in steps:
                if step == "enter":
                    readers.append(Reader(waiters, redis, which))
                elif step == "leave" and readers:
                    readers[0].task.cancel()
                    leaving.append(readers.pop(0).task)
                elif step == "change":
                    await redis.eval(CHANGE, 0, which)
                elif step == "cut":
                    await redis.client_kill_filter(_type="pubsub")
                elif step in ("hold", "go on"):
                    (changes.gate.clear if step == "hold" else changes.gate.set)()
                elif step == "pause":
                    await asyncio.sleep(which / 1000)
            changes.gate.set()
            last = {job: int(await redis.get(f"undegrade:job:{job}") or 0) for job in "ab"}
            async with asyncio.timeout(20):
                while any(reader.seen != last[reader.job] for reader in readers):
                    await asyncio.sleep(0.005)
            await end_tasks(*leaving, *(reader.task for reader in readers))
            async with asyncio.timeout(20):
                while await redis.pubsub_channels("undegrade:*"):
                    await asyncio.sleep(0.005)
            assert waiters.count() == 0
            await end_tasks(listener)

    asyncio.run(scenario())
