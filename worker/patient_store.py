"""A blob store whose failures are waited for: a result that took minutes to compute is not thrown away for one of them.

Pauses grow, and the number of tries is bounded: a store that stays broken fails the job, instead of being asked by the
same job for ever.  A Redis that does not answer is not counted: while it is away no job can end either, and the job's
lease decides how long this worker may wait.  Replicas that do not answer are waited for as a commit waits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from jobs import redis_keys
from jobs.backoff import Backoff
from jobs.blob_store import Blob, BlobStore
from jobs.errors import BlobMissing, BlobUnwanted, NotReplicated, StoreError, StoreFull
from worker.job_end import canceled, failed

T = TypeVar("T")
log = structlog.get_logger()
MAX_TRIES = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class PatientStore:
    """Reads and writes one job's pictures.  `sleep` waits for some seconds of `clock`."""

    def __init__(
        self, store: BlobStore, job: str, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.store, self.job, self.sleep, self.clock = store, job, sleep, clock

    async def get(self, name: str) -> bytes:
        """Read a blob.

        Raises:
            BlobMissing: there is no such blob.
            Ended: the store failed MAX_TRIES times.
        """
        return await self._patiently("read", lambda: self.store.get(name))

    async def put(self, blob: Blob) -> None:
        """Store a blob.  A lease later, it is stored although the replicas do not answer, as the commit is.

        Raises:
            Ended: the store failed MAX_TRIES times, or the job has ended or is deleted.
        """
        late_s = self.clock() + redis_keys.LEASE_MS / 1000

        async def put() -> None:
            await self.store.put(blob.name, blob.data, blob.ttl_s, replicated=self.clock() < late_s)

        await self._patiently("written", put)

    async def _patiently(self, done: str, action: Callable[[], Awaitable[T]]) -> T:
        refused, away, tries = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S), Backoff(), 0
        while True:
            try:
                return await action()
            except BlobMissing:
                raise
            except BlobUnwanted as error:
                raise canceled() from error
            except (RedisAway, RedisTimeout, NotReplicated) as error:
                reason, pause_s = str(error), away.next_s()
            except (StoreError, RedisError, OSError) as error:
                reason, tries = str(error), tries + 1
                if tries >= MAX_TRIES:
                    log.error("store.gave-up", job=self.job, error=reason, tries=tries)
                    detail = f"the blob store could not be {done}, {tries} times"
                    code = "storage-full" if isinstance(error, StoreFull) else "store-unavailable"
                    raise failed(code, detail, "submit the image again later") from error
                pause_s = refused.next_s()
            log.warning("store.away", job=self.job, error=reason, again_in_s=pause_s)
            await self.sleep(pause_s)
