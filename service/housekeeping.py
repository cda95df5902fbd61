"""Periodic work of each API process: ends jobs whose deadline has passed, and deletes what is over.

The workers do the same, but a deadline, a cancellation and a deletion must not wait for a worker.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError

from jobs.backoff import Backoff
from jobs.blob_store import BlobStore
from jobs.end_tasks import run_together
from jobs.errors import StoreError
from jobs.job_log import log_ends, log_released
from jobs.queue import MAX_FORGOTTEN_AT_ONCE, Queue
from jobs.state import State
from service.eraser import Eraser

log = structlog.get_logger()
EXPIRE_S = 0.5
FORGET_S = 30.0
MAX_WITHDRAWN_AT_ONCE = 20
LONGEST_PAUSE_S = 5.0
"""Beyond the usual pause, while Redis or the store fails."""


class Housekeeping:
    """Ends late jobs, sweeps the store and mends the index of states every EXPIRE_S.

    Every FORGET_S, forgets old jobs, and those of batches whose request has broken off.
    """

    def __init__(self, queue: Queue, store: BlobStore, eraser: Eraser) -> None:
        self.queue, self.store, self.eraser = queue, store, eraser

    async def run(self) -> None:
        """Work until canceled.  No part waits for another: a store that fails must not hold up a deadline."""
        await run_together(
            _repeat(self._end_late_jobs, EXPIRE_S),
            _repeat(self._sweep, EXPIRE_S),
            _repeat(self._forget, FORGET_S),
            _repeat(self._withdraw, FORGET_S),
            _repeat(self._index_states, EXPIRE_S),
        )

    async def _end_late_jobs(self) -> None:
        while ended := await self.queue.expire():  # a limited number at once
            await log_ends(self.queue, dict.fromkeys(ended, State.EXPIRED))
        await log_released(self.queue, await self.queue.reclaim(ending_only=True))

    async def _sweep(self) -> None:
        await self.store.sweep(time.time())

    async def _forget(self) -> None:
        while len(await self.queue.forget_expired()) == MAX_FORGOTTEN_AT_ONCE:  # a fleet ends more than that meanwhile
            pass
        await self.queue.unreserve()

    async def _withdraw(self) -> None:
        for batch in await self.queue.batches.broken_off(MAX_WITHDRAWN_AT_ONCE):
            await self.eraser.withdraw(batch, broken=True)

    async def _index_states(self) -> None:
        await self.queue.listing.index_states()


async def _repeat(action: Callable[[], Awaitable[None]], every_s: float) -> None:
    failures = Backoff(EXPIRE_S, LONGEST_PAUSE_S)
    while True:
        await asyncio.sleep(every_s)
        try:
            await action()
            failures.reset()
        except (RedisError, OSError, StoreError) as error:
            log.warning("housekeeping.failed", error=type(error).__name__, detail=str(error))
            await asyncio.sleep(failures.next_s())
