"""A worker goes on reclaiming jobs and announcing itself, whatever the store says."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisAway
from structlog.testing import capture_logs

from jobs.errors import NotReplicated, StoreError
from worker import upkeep
from worker.metrics import WorkerMetrics
from worker.redis_retry import RedisRetry
from worker.upkeep import Upkeep


class Fakes:
    """Queue, store and announcer in one: the sweeps of the store meet these errors, one after the other."""

    def __init__(self, *errors) -> None:
        self.errors, self.calls = list(errors), []

    async def reclaim(self):
        self.calls.append("reclaim")
        return {}

    async def announce(self):
        self.calls.append("announce")

    async def forget_expired(self):
        return []

    async def sweep(self, now_s):
        self.calls.append("sweep")
        if self.errors:
            raise self.errors.pop(0)
        return 0


@pytest.mark.parametrize(
    "error", [StoreError("cannot delete a: read-only"), NotReplicated("0 of 1"), RedisAway("gone"), OSError("gone")]
)
def test_a_sweep_that_fails_stops_neither_the_next_one_nor_the_reclaiming(monkeypatch, error):
    for name in ("RECLAIM_S", "ANNOUNCE_S", "SWEEP_S"):
        monkeypatch.setattr(upkeep, name, 0.0)
    fakes = Fakes(error, error)

    async def main():
        running = asyncio.create_task(Upkeep(fakes, fakes, fakes, RedisRetry(WorkerMetrics(), asyncio.Event())).run())
        async with asyncio.timeout(30):
            while fakes.calls.count("sweep") < 4 and not running.done():
                await asyncio.sleep(0.001)
        assert not running.done(), running.exception()
        running.cancel()

    with capture_logs():
        asyncio.run(main())
    assert {"reclaim", "announce"} <= set(fakes.calls)


def test_replicas_that_are_away_do_not_keep_a_worker_from_reclaiming(monkeypatch):
    for name in ("RECLAIM_S", "ANNOUNCE_S", "SWEEP_S"):
        monkeypatch.setattr(upkeep, name, 0.0)
    fakes = Fakes(*[NotReplicated("0 of 1")] * 1000)

    async def main():
        running = asyncio.create_task(Upkeep(fakes, fakes, fakes, RedisRetry(WorkerMetrics(), asyncio.Event())).run())
        async with asyncio.timeout(30):
            while fakes.calls.count("reclaim") < 20:
                await asyncio.sleep(0.001)
        running.cancel()

    with capture_logs():
        asyncio.run(main())
