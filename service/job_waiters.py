"""Wakes the requests of this process that wait for a job, all from one Redis subscription.

A message can be lost while Redis is away.  Therefore no request waits longer than POLL_S without reading the job again.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from redis.exceptions import RedisError

from jobs.backoff import Backoff
from jobs.queue import Queue
from service.limits.refusals import TooManyWaits

log = structlog.get_logger()
POLL_S = 2.0


class JobWaiter:
    """Waits for changes of one job.  With `only_end`, changes before the job's end do not wake it."""

    def __init__(self, only_end: bool) -> None:
        self.only_end = only_end
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    async def wait(self, max_s: float) -> None:
        """Return at the next change, or after `max_s` or POLL_S, whichever is shorter."""
        try:
            async with asyncio.timeout(max(0.0, min(max_s, POLL_S))):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()


class JobWaiters:
    """The waiters of this process.  `closed` becomes true when the server stops; every wait then ends."""

    def __init__(self, queue: Queue, max_waits: int) -> None:
        self.queue, self.max_waits = queue, max_waits
        self.closed = False
        self._waiters: dict[str, set[JobWaiter]] = {}
        self._count_by_owner: Counter[str | None] = Counter()

    @contextmanager
    def register(self, job_id: str, owner: str | None, only_end: bool = False) -> Iterator[JobWaiter]:
        """Yield a waiter for this job, which counts against the quota of its owner.

        Raises:
            TooManyWaits: the owner's quota is used up.
        """
        with self.register_all([job_id], owner, only_end) as waiter:
            yield waiter

    @contextmanager
    def register_all(self, job_ids: Sequence[str], owner: str | None, only_end: bool = True) -> Iterator[JobWaiter]:
        """Yield one waiter for all of these jobs.  It counts once.

        Raises:
            TooManyWaits: the owner's quota is used up.
        """
        self.check_quota(owner)
        waiter = JobWaiter(only_end)
        self._count_by_owner[owner] += 1
        for job_id in job_ids:
            self._waiters.setdefault(job_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._count_by_owner[owner] -= 1
            for job_id in job_ids:
                self._waiters[job_id].discard(waiter)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def check_quota(self, owner: str | None) -> None:
        """Raise TooManyWaits if `register` would."""
        if self._count_by_owner[owner] >= self.max_waits:
            raise TooManyWaits(
                f"got {self.max_waits} open waits and event streams, the limit", headers={"Retry-After": "5"}
            )

    def count(self) -> int:
        """Return how many waits are open."""
        return self._count_by_owner.total()

    def close(self) -> None:
        """End every wait.  Call this on the event loop's thread."""
        self.closed = True
        self._notify_all()

    def _notify_all(self) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.notify()

    async def listen(self) -> None:
        """Notify the waiters of changed jobs until canceled; subscribe again whenever Redis was away."""
        await self.queue.for_each_part(self._listen_to)

    async def _listen_to(self, part: Queue) -> None:
        backoff = Backoff()
        while True:
            try:
                async for job_id, over in part.changes():
                    backoff.reset()
                    if not job_id:  # subscribed: changes before this moment were missed
                        self._notify_all()
                    for waiter in self._waiters.get(job_id, ()):
                        if over or not waiter.only_end:
                            waiter.notify()
            except (RedisError, OSError) as error:
                log.warning("redis.away", error=type(error).__name__)
            self._notify_all()  # messages may have been lost
            await asyncio.sleep(backoff.next_s())
