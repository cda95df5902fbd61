"""Periodic work of each API process: ends jobs whose deadline has passed, and deletes what is over.

The workers do the same, but a deadline, a cancellation and a deletion must not wait for a worker.
"""

import asyncio
import time

import structlog
from redis.exceptions import RedisError

from jobs.blob_store import BlobStore
from jobs.errors import StoreError
from jobs.queue import Queue

log = structlog.get_logger()
EXPIRE_S = 0.5
FORGET_S = 30.0


class Housekeeping:
    """Ends late jobs and sweeps the store every EXPIRE_S, forgets old jobs every FORGET_S."""

    def __init__(self, queue: Queue, store: BlobStore) -> None:
        self.queue, self.store = queue, store

    async def run(self) -> None:
        """Work until canceled."""
        forgot_s = time.monotonic()
        while True:
            await asyncio.sleep(EXPIRE_S)
            try:
                await self.queue.expire()
                await self.queue.reclaim(ending_only=True)
                await self.store.sweep(time.time())
                if time.monotonic() - forgot_s >= FORGET_S:
                    forgot_s = time.monotonic()
                    await self.queue.forget_expired()
                    await self.queue.unreserve()
            except (RedisError, OSError, StoreError) as error:
                log.warning("housekeeping.failed", error=type(error).__name__, detail=str(error))
                await asyncio.sleep(EXPIRE_S)
