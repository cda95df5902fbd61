"""Periodic work of each worker: reclaim the jobs of dead workers, forget expired jobs, announce the worker."""

import asyncio
import time

import structlog

from jobs.blob_store import BlobStore
from jobs.errors import NotReplicated, StoreError
from jobs.job_log import log_released
from jobs.queue import Queue
from worker.announcer import Announcer
from worker.redis_retry import RedisRetry

log = structlog.get_logger()
RECLAIM_S = 1.0
ANNOUNCE_S = 5.0
SWEEP_S = 30.0


class Upkeep:
    """Reclaims every RECLAIM_S, announces every ANNOUNCE_S, sweeps every SWEEP_S."""

    def __init__(self, queue: Queue, store: BlobStore, announcer: Announcer, retry: RedisRetry) -> None:
        self.queue, self.store, self.announcer, self.retry = queue, store, announcer, retry

    async def run(self) -> None:
        """Work until canceled."""
        announced_s = swept_s = 0.0
        while True:
            now_s = time.monotonic()
            await self.retry("reclaim", self._reclaim, until_drain=True)
            if now_s - announced_s >= ANNOUNCE_S:
                announced_s = now_s
                await self.retry("announce", self.announcer.announce, until_drain=True)
            if now_s - swept_s >= SWEEP_S:
                swept_s = now_s
                await self.retry("sweep", self._sweep, until_drain=True)
            await asyncio.sleep(RECLAIM_S)

    async def _reclaim(self) -> None:
        answers = await self.queue.reclaim()
        for job, answer in answers.items():
            log.warning("lease.expired", job=job, now=answer)
        await log_released(self.queue, answers)

    async def _sweep(self) -> None:
        await self.queue.forget_expired()
        try:
            await self.store.sweep(time.time())
        except (StoreError, NotReplicated) as error:  # what is due stays so, and jobs to reclaim must not wait for it
            log.warning("sweep.failed", error=str(error))
