"""`store: false`: after the answer, nothing of the job is in Redis or in the store."""

import io
import os
import threading
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from jobs import redis_keys
from jobs.record import Failure
from jobs.spec import LANES

IMAGE = {"Accept": "image/png"}
COUNTED = {b"undegrade:counters", b"undegrade:drain:toy"}
"""Numbers about all jobs together: how many ended and how long the last ones took."""
PADDINGS = pytest.mark.parametrize("padding", [0, 2 << 20], ids=["carried", "stored apart"])


def everything(valkey, folder):
    """Every key with its content, and every file of the store."""

    def read(redis):
        kinds = {b"hash": redis.hgetall, b"set": redis.smembers, b"stream": redis.xrange, b"string": redis.get}
        kinds |= {b"list": lambda key: redis.lrange(key, 0, -1), b"zset": lambda key: redis.zrange(key, 0, -1)}
        kinds |= {b"none": lambda key: None}  # it is gone meanwhile
        workers = redis_keys.WORKER.encode()
        kept = [key for key in redis.scan_iter() if key not in COUNTED and not key.startswith(workers)]
        return {key: kinds[redis.type(key)](key) for key in kept}

    # os.walk passes over folders that vanish meanwhile, which rglob does not
    files = sorted((Path(place) / name).relative_to(folder) for place, _, names in os.walk(folder) for name in names)
    return valkey.do(read), files


@pytest.fixture(params=["redis", "file"])
def bench(request, serve, toy, valkey, tmp_path, picture, eventually):
    """A client and the means to look at everything that is stored; a normal job has left what any job leaves."""
    options = {"store_url": f"file://{tmp_path}"} if request.param == "file" else {}
    service = serve(**options)
    client = service.client
    worker = toy(**options)
    job = client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=20"}).json()
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    eventually(lambda: not any(names for place, _, names in os.walk(tmp_path) if Path(place) != tmp_path))
    return service, worker, lambda: everything(valkey, tmp_path)


def send(client, picture, padding=0, headers=IMAGE, path="/restore", **fields):
    files = {"image": picture() + b"\0" * padding}
    return client.post(path, files=files, data={"store": "false", **fields}, headers=headers)


@PADDINGS
def test_the_answer_is_all_that_is_left(bench, picture, padding):
    service, _, look = bench
    before = look()
    headers = {**IMAGE, "Idempotency-Key": "one"}
    answer = send(service.client, picture, padding, headers, labels="team=red", prompt="secret")
    assert answer.status_code == 200 and Image.open(io.BytesIO(answer.content)).size == (24, 16)
    assert look() == before
    assert service.client.get(f"/jobs/{answer.headers['X-Job-Id']}").status_code == 404
    found = send(service.client, picture, path="/detect", headers={})
    assert found.status_code == 200 and found.json()["degradations"]
    assert look() == before


def test_a_failure_leaves_nothing_either(bench, picture):
    service, worker, look = bench
    before = look()
    worker.failure = Failure(code="bad-image", detail="damaged", hint="")
    assert send(service.client, picture).status_code == 422
    assert look() == before


@PADDINGS
@pytest.mark.parametrize("leave", ["wait ends", "client hangs up"])
def test_nothing_is_left_when_nobody_waits_any_more(bench, picture, eventually, leave, padding):
    service, worker, look = bench
    before = look()
    worker.hold = True
    if leave == "wait ends":
        answer = send(service.client, picture, padding, {**IMAGE, "Prefer": "wait=1"})
        assert answer.status_code == 504 and "job_url" not in answer.json() and "store" in answer.json()["hint"]
    else:
        with httpx.Client(base_url=service.url, timeout=0.7) as impatient, pytest.raises(httpx.ReadTimeout):
            send(impatient, picture, padding)
    eventually(lambda: look() == before)


def test_a_job_whose_worker_died_leaves_nothing(service, valkey, picture, tmp_path, eventually):
    before, answers = everything(valkey, tmp_path), []
    wait = {**IMAGE, "Prefer": "wait=2"}
    sending = threading.Thread(target=lambda: answers.append(send(service.client, picture, headers=wait)))
    sending.start()
    lease = service.queued()
    eventually(lambda: lease(lambda queue: queue.lease(["toy"], LANES, 1, worker="w", token="dead", held=0))[0])
    sending.join()
    assert answers[0].status_code == 504
    left, files = everything(valkey, tmp_path)
    assert left.keys() - before[0].keys() <= {b"rq:queues"} and not files


def test_a_process_that_dies_leaves_its_job_to_the_others(service, toy, valkey, picture, eventually):
    """What a killed process leaves: a job that nobody waits for, queued or ended."""
    looks = []

    def kill():
        eventually(lambda: valkey.do(lambda redis: redis.zcard(redis_keys.JOBS)))
        ((_, due_ms),) = valkey.do(lambda redis: redis.zrange(redis_keys.EXPIRY, 0, -1, withscores=True))
        looks.append(due_ms / 1000 - time.time())
        valkey.do(lambda redis: redis.zadd(redis_keys.EXPIRY, {redis.zrange(redis_keys.JOBS, 0, 0)[0]: 1}))
        service.queued()(lambda queue: queue.forget_expired())

    before = valkey.do(lambda redis: set(redis.keys()))
    killer = threading.Thread(target=kill)
    killer.start()
    answer = send(service.client, picture, 0, {**IMAGE, "Prefer": "wait=20"})
    killer.join()
    assert answer.status_code == 410 and 0 < looks[0] <= redis_keys.UNSTORED_S
    assert valkey.do(lambda redis: set(redis.keys())) - before <= {b"rq:queues"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/restore", {}), ("/restore", {"Prefer": "wait=5"}), ("/restore", {**IMAGE, "Prefer": "respond-async"}),
     ("/detect", {"Prefer": "respond-async"})],
)  # fmt: skip
def test_a_request_whose_answer_would_be_lost_is_refused(client, picture, valkey, path, headers):
    answer = send(client, picture, 0, headers, path)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "store"
    assert not valkey.do(lambda redis: redis.keys("undegrade:job:*"))
