"""Uploads beyond a limit are refused before they are stored, and what was accepted still ends."""

import io
import os
from types import SimpleNamespace

import pytest
from PIL import Image
from redis.exceptions import OutOfMemoryError, ResponseError

import jobs.object_store
from jobs.errors import full_redis


def noise(side: int) -> bytes:
    """A PNG of about 3 * side^2 bytes."""
    target = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(target, "png")
    return target.getvalue()


SMALL, LARGE = noise(500), noise(700)
"""Carried by the submission's script, and stored before it."""


def fill(client, data: bytes, most: int = 400, headers=None) -> list:
    """Uploads until the service refuses.  Returns the answers."""
    answers = []
    while not answers or (answers[-1].status_code == 202 and len(answers) < most):
        answers.append(client.post("/restore", content=data, headers={"content-type": "image/png", **(headers or {})}))
    return answers


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_full_memory_is_507_before_redis_refuses_and_accepted_jobs_end(serve, small_valkey, toy, data, eventually):
    service = serve(redis_url=small_valkey.url, store_url="redis://")
    *accepted, last = fill(service.client, data)
    assert accepted, "the first upload fits"
    assert last.status_code == 507 and last.json()["code"] == "storage-full"
    assert "memory" in last.json()["detail"] and last.headers["retry-after"]
    used = small_valkey.do(lambda redis: redis.info("memory"))
    assert used["used_memory"] < 0.9 * used["maxmemory"]
    toy(url=small_valkey.url)
    for answer in accepted:
        job = service.client.get(f"/jobs/{answer.json()['id']}?wait=30").json()
        assert job["status"] == "succeeded"
    assert fill(service.client, data, most=1)[-1].status_code == 202, "the inputs are gone"


@pytest.mark.parametrize("store", ["redis://", "memory://", "file"])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_stored_bytes_are_bounded_and_come_back(serve, store, data, tmp_path, valkey):
    url = f"file://{tmp_path}/blobs" if store == "file" else store
    service = serve(store_url=url, max_stored_bytes=3 * len(data) + 10)
    answers = fill(service.client, data)
    assert [answer.status_code for answer in answers] == [202, 202, 202, 507]
    assert "limit is" in answers[-1].json()["detail"]
    assert service.client.delete(f"/jobs/{answers[0].json()['id']}").status_code == 200
    assert fill(service.client, data, most=1)[-1].status_code == 202
    for job in service.client.get("/jobs").json()["jobs"]:
        service.client.delete(f"/jobs/{job['id']}")
    assert valkey.do(lambda redis: redis.hgetall("undegrade:stored-totals")) == {}


def test_a_key_has_a_limit_of_its_own_that_counts_results(serve, toy, valkey, eventually):
    from jobs.api_keys import create

    service = serve(max_stored_bytes_per_key=2 * len(SMALL) + 10)
    one, other = (service.queued()(lambda queue: create(queue.redis, "name"))[1] for _ in range(2))
    headers = {"authorization": f"Bearer {one}"}
    answers = fill(service.client, SMALL, headers=headers)
    assert [answer.status_code for answer in answers] == [202, 202, 507]
    assert "this API key" in answers[-1].json()["detail"]
    assert fill(service.client, SMALL, 1, {"authorization": f"Bearer {other}"})[-1].status_code == 202
    toy()
    for answer in answers[:2]:
        service.client.get(f"/jobs/{answer.json()['id']}?wait=20", headers=headers)

    def stored() -> int:  # the job of the other key has not been waited for
        return int(valkey.do(lambda redis: redis.hget("undegrade:stored-totals", "*")))

    eventually(lambda: 0 < stored() < len(SMALL))  # small results take the place of the inputs


def test_a_full_disk_is_507_and_names_the_disk(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs.object_store, "DISK_RESERVE_SHARE", 1.0)
    monkeypatch.setattr(jobs.object_store, "DISK_RESERVE_MAX_BYTES", 10**18)
    service = serve(store_url=f"file://{tmp_path}/blobs")
    (answer,) = fill(service.client, SMALL)
    assert answer.status_code == 507 and "disk" in answer.json()["detail"]
    (answer,) = fill(serve(embedded_redis_folder=tmp_path).client, SMALL)
    assert answer.status_code == 507 and "disk" in answer.json()["detail"]


@pytest.mark.parametrize(("spare", "status"), [(-1, 507), (0, 202)])
def test_the_disk_of_valkey_keeps_room_for_all_images_once_more(serve, tmp_path, monkeypatch, valkey, spare, status):
    service = serve(embedded_redis_folder=tmp_path)
    fill(service.client, LARGE, 2)
    stored = int(valkey.do(lambda redis: redis.hget("undegrade:stored-totals", "*")))
    assert stored >= 2 * len(LARGE)
    reserve = 50  # 5 %
    disk = SimpleNamespace(f_bavail=stored + len(SMALL) + reserve + spare, f_bfree=0, f_blocks=1000, f_frsize=1)
    monkeypatch.setattr(jobs.object_store.os, "statvfs", lambda folder: disk)
    assert fill(service.client, SMALL, 1)[-1].status_code == status


def test_errors_of_a_full_redis_are_told_apart():
    assert "memory" in str(full_redis(OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")))
    assert "disk" in str(full_redis(ResponseError("MISCONF Errors writing to the AOF file: No space left on device")))
    assert full_redis(ResponseError("WRONGTYPE")) is None


def test_a_job_of_a_full_redis_is_still_deleted_and_read(serve, small_valkey):
    service = serve(redis_url=small_valkey.url, store_url="redis://")
    job = fill(service.client, LARGE)[0].json()
    small_valkey.do(lambda redis: redis.config_set("maxmemory", 1_000_000))
    assert service.client.get(f"/jobs/{job['id']}").status_code == 200
    assert fill(service.client, SMALL, 1)[-1].status_code == 507
    assert service.client.delete(f"/jobs/{job['id']}").status_code == 200
    assert service.client.delete(f"/jobs/{job['id']}").status_code == 204
