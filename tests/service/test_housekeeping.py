"""What an API process does by itself, without any worker."""

import asyncio
import threading

import pytest
from redis import Redis

from jobs import redis_keys
from jobs.end_tasks import end_tasks
from jobs.queue import Queue
from jobs.redis_store import RedisStore
from jobs.spec import LANES, JobSpec
from jobs.state import State
from service.eraser import Eraser
from service.housekeeping import Housekeeping


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


@pytest.mark.parametrize("of", ["late jobs", "old jobs"])
def test_a_round_ends_with_all_that_is_due_and_not_with_a_limited_number(service, monkeypatch, of):
    monkeypatch.setattr(redis_keys, "MAX_EXPIRED_AT_ONCE", 4)
    monkeypatch.setattr("service.housekeeping.MAX_FORGOTTEN_AT_ONCE", 4)
    monkeypatch.setattr("jobs.queue.MAX_FORGOTTEN_AT_ONCE", 4)
    monkeypatch.setattr("service.housekeeping.FORGET_S", 0.01)

    async def scenario(queue: Queue) -> None:
        queue = Queue(queue.redis)  # its scripts know the limits
        jobs = [JobSpec(id=f"{number:032x}", bundle="nobody's", submitted_ms=1, deadline_ms=1) for number in range(10)]
        rounds = asyncio.Event()
        for job in jobs:
            await queue.submit(job, 100)

        async def after_a_round(*words: object, **named: object) -> dict[str, str]:
            rounds.set()
            return {}

        if of == "late jobs":
            queue.reclaim = after_a_round  # type: ignore[method-assign]
        else:
            await queue.redis.zadd(redis_keys.EXPIRY, {job.id: 1 for job in jobs}, xx=True)
            queue.unreserve = after_a_round  # type: ignore[method-assign]
        store = RedisStore(queue.redis)
        work = asyncio.create_task(Housekeeping(queue, store, Eraser(queue, store, 60, None)).run())
        await asyncio.wait_for(rounds.wait(), 30)
        await end_tasks(work)
        records = [await queue.record(job.id) for job in jobs]
        assert all(record is None or (of == "late jobs" and record.state is State.EXPIRED) for record in records)

    service.queued()(scenario)
