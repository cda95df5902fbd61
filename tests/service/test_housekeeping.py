"""What an API process does by itself, without any worker."""

import asyncio
import threading

import pytest
from redis import Redis

from jobs import redis_keys
from jobs.spec import LANES


@pytest.mark.parametrize("why", ["late", "canceled"])
def test_a_job_of_a_dead_worker_ends_although_no_worker_is_alive(service, submitted, valkey, eventually, why):
    job = submitted(deadline_s=3) if why == "late" else submitted()

    def lease_and_die(redis: Redis) -> None:
        redis.zadd(redis_keys.LEASES, {job["id"]: 1}, xx=True)

    leased, _ = service.queued()(
        lambda queue: queue.lease([service.settings.bundle], LANES, 1, worker="w", token="t", held=0)
    )
    assert [entry.spec.id for entry in leased] == [job["id"]]
    valkey.do(lease_and_die)
    if why == "canceled":
        assert service.client.delete(f"/jobs/{job['id']}").status_code in (200, 202)
    status = {"late": "expired", "canceled": "canceled"}[why]
    eventually(lambda: service.client.get(f"/jobs/{job['id']}").json()["status"] == status)
    assert not valkey.do(lambda redis: redis.keys(redis_keys.BLOB + "*")), "its upload is gone"
    if why == "late":
        assert service.client.get(f"/jobs/{job['id']}").json()["error"]["code"] == "deadline"


def test_a_store_that_hangs_holds_up_no_deadline(service, submitted, eventually, monkeypatch):
    asked = threading.Event()

    async def hang(now_s: float) -> int:
        asked.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(service.app.state.desk.store, "sweep", hang)
    assert asked.wait(20)
    job = submitted(deadline_s=0.1)
    # Not through the API: it ends a late job that it is asked for
    eventually(lambda: service.queued()(lambda queue: queue.record(job["id"])).state == "expired")
