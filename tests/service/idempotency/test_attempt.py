"""A request that is sent again, to a real service with a real Valkey."""

import asyncio
import base64
import io
import re
import threading

import pytest
from PIL import Image

from jobs import api_keys, redis_keys
from jobs.blob_store import CARRIED_BYTES

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def queued(service):
    return service.queued()(lambda queue: queue.backlog("toy")).total


@pytest.fixture
def send(client, picture):
    """Sends an image to be restored with a key."""

    def post(path="/restore", image=None, headers=KEY, prefer="respond-async", **fields):
        files = {"image": ("a.png", image or picture())}
        return client.post(path, files=files, data=fields, headers={"Prefer": prefer, **headers})

    return post


def test_a_request_that_is_sent_again_is_answered_with_the_same_job(service, send):
    first, second = send(strength="0.5"), send(strength="0.5")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"] and first.headers["location"] == second.headers["location"]
    assert "idempotency-replayed" not in first.headers and second.headers["idempotency-replayed"] == "true"
    assert first.json()["params"]["seed"] == second.json()["params"]["seed"]
    assert queued(service) == 1


def test_the_same_request_in_another_form_is_the_same(service, client, picture, send):
    first = send(strength="0.5", only=["noise", "blur"])
    text = base64.b64encode(picture()).decode()
    body = {"only": ["noise", "blur"], "image_base64": text, "strength": 0.5}
    answers = [
        client.post("/restore", json=body, headers=KEY),
        client.post("/restore?only=noise,blur", files={"image": picture()}, data={"strength": "0.5"}, headers=KEY),
        client.post(
            "/restore?only=noise&strength=0.5&only=blur",
            content=picture(),
            headers={"Content-Type": "image/png", "Idempotency-Key": f'"{KEY["Idempotency-Key"]}"'},
        ),
    ]
    assert {answer.json()["id"] for answer in answers} == {first.json()["id"]}
    assert queued(service) == 1


@pytest.mark.parametrize("change", [{"strength": "0.6"}, {"lane": "bulk"}, {"image": b""}, {"path": "/detect"}])
def test_another_request_with_the_key_is_refused(service, send, picture, change):
    assert send().status_code == 202
    if "image" in change:
        change = {"image": picture(color="red")}
    answer = send(**change)
    assert answer.status_code == 422 and answer.json()["code"] == "idempotency-key-reused" and answer.json()["hint"]
    assert "idempotency-replayed" not in answer.headers
    assert queued(service) == 1


def test_a_replay_waits_and_returns_the_finished_job_or_its_image(send, toy):
    job = send().json()
    toy()
    replay = send(prefer="wait=20")
    assert replay.status_code == 200 and replay.json()["id"] == job["id"] and replay.json()["status"] == "succeeded"
    image = send(headers={**KEY, "Accept": "image/*"}, prefer="wait=20")
    assert image.status_code == 200 and image.headers["x-job-id"] == job["id"]
    assert image.headers["idempotency-replayed"] == "true"
    assert Image.open(io.BytesIO(image.content)).size == (24, 16)


def test_a_detection_is_replayed(send, worker):
    first, second = send("/detect", prefer="wait=20"), send("/detect", prefer="wait=20")
    assert first.json() == second.json() and second.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("refused", [{"strength": "7"}, {"image": b"no image"}, {"bundle": "other"}])
def test_a_refused_request_does_not_use_up_its_key(service, send, refused):
    assert send(**refused).status_code in (415, 422)
    assert send().status_code == 202 and queued(service) == 1


def test_a_full_queue_does_not_use_up_a_key_and_does_not_refuse_a_replay(serve, picture, valkey):
    full, roomy = serve(max_queued=0), serve()
    large = io.BytesIO()
    Image.effect_noise((600, 1000), 90).save(large, "png")
    request = {"files": {"image": large.getvalue()}, "headers": KEY}
    assert full.client.post("/restore", **request).json()["code"] == "queue-full"
    made = roomy.client.post("/restore", **request)
    assert made.status_code == 202 and "idempotency-replayed" not in made.headers
    replay = full.client.post("/restore", **request)
    assert replay.status_code == 202 and replay.json()["id"] == made.json()["id"]


def test_each_api_key_has_idempotency_keys_of_its_own(service, send, valkey):
    async def two_keys(queue):
        return [(await api_keys.create(queue.redis, name))[1] for name in ("a", "b")]

    secrets = service.queued()(two_keys)
    ids = {send(headers={**KEY, "X-API-Key": secret}).json()["id"] for secret in [*secrets, *secrets]}
    assert len(ids) == 2


def test_the_job_that_was_deleted_is_not_made_again(service, client, send, worker):
    job = send(prefer="wait=20").json()
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    answer = send()
    assert (
        answer.status_code == 410 and answer.json()["code"] == "gone" and "new Idempotency-Key" in answer.json()["hint"]
    )
    assert answer.headers["idempotency-replayed"] == "true"
    assert queued(service) == 0


def test_a_key_is_kept_for_a_day_and_not_in_clear(send, valkey):
    send()
    (name,) = valkey.do(lambda redis: redis.keys("undegrade:claim:*"))
    assert KEY["Idempotency-Key"].encode() not in name and re.fullmatch(rb"undegrade:claim:[0-9a-f]{64}", name)
    assert 0 < valkey.do(lambda redis: redis.ttl(name)) <= redis_keys.CLAIM_TTL_S == 86_400


@pytest.mark.parametrize("value", ["", "é".encode(), "x" * 256, '"a'])
def test_a_bad_key_is_refused_and_nothing_is_queued(service, send, value):
    answer = send(headers={"Idempotency-Key": value})
    assert answer.status_code == 400 and answer.json()["code"] == "bad-idempotency-key" and answer.json()["hint"]
    assert queued(service) == 0


@pytest.mark.parametrize("large", [False, True], ids=["stored with the job", "stored before the job"])
def test_two_processes_with_the_same_request_at_once_make_one_job(serve, picture, valkey, large):
    """Neither sees the other's claim when it looks: the script decides."""
    target = io.BytesIO()
    Image.effect_noise((1000 if large else 24, 1200), 90).save(target, "png")
    assert (len(target.getvalue()) > CARRIED_BYTES) == large
    services, barrier, answers = [serve(), serve()], threading.Barrier(2), []
    for service in services:
        submit = service.app.state.desk.queue.submit

        async def together(*arguments, submit=submit, **named):
            await asyncio.to_thread(barrier.wait, 20)
            return await submit(*arguments, **named)

        service.app.state.desk.queue.submit = together

    def send(service):
        answers.append(service.client.post("/restore", files={"image": target.getvalue()}, headers=KEY))

    threads = [threading.Thread(target=send, args=[service]) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1 and queued(services[0]) == 1
    assert sorted("idempotency-replayed" in answer.headers for answer in answers) == [False, True]
    assert len(valkey.do(lambda redis: redis.keys("undegrade:blob:*"))) == 1
    assert len(valkey.do(lambda redis: redis.hgetall("undegrade:stored"))) == 1
    assert valkey.do(lambda redis: redis.hlen("undegrade:reserved")) == 0
