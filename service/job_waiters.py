"""Wakes the requests of this process that wait for a job, each by its own job (jobs/changes.py).

A message can be lost while Redis is away.  Therefore no request waits longer than POLL_S without reading the job again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from redis.exceptions import RedisError

from jobs.backoff import Backoff
from jobs.changes import Changes, channels_of
from jobs.queue import Queue
from service.limits.refusals import TooManyWaits

log = structlog.get_logger()
POLL_S = 2.0
SUBSCRIBE_S = 1.0
"""How long a wait gives Redis to subscribe before it reads the job all the same."""
STEADY_S = 5.0
"""A connection that has lasted so long was a good one."""


class JobWaiter:
    """Waits for changes of some jobs."""

    def __init__(self) -> None:
        self._changed, self._heard = asyncio.Event(), asyncio.Event()
        self.unheard: set[str] = set()

    def subscribed(self, channel: str) -> None:
        """Note that Redis now tells of this channel.  A wait that has read its job before reads it again."""
        if channel not in self.unheard:
            self._changed.set()
        self.unheard.discard(channel)
        if not self.unheard:
            self._heard.set()

    def changed(self) -> None:
        """Wake the wait."""
        self._changed.set()

    async def ready(self) -> None:
        """Return when a change after this moment will wake `wait`: read the job then, and not before.

        Where Redis does not answer in time, it returns, too; the wait then ends as soon as Redis has subscribed.
        """
        if self.unheard:
            try:
                async with asyncio.timeout(SUBSCRIBE_S):
                    await self._heard.wait()
            except TimeoutError:
                self.unheard.clear()

    def close(self) -> None:
        """End `ready` and `wait`."""
        self._heard.set()
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
        self._waiters: set[JobWaiter] = set()
        self._changes: dict[int, Changes] = {}
        self._count_by_owner: Counter[str | None] = Counter()

    @contextmanager
    def register(self, job_id: str, owner: str | None, only_end: bool = False) -> Iterator[JobWaiter]:
        """Yield a waiter for this job, which counts against the quota of its owner.

        Args:
            only_end: changes before the job's end do not wake it.

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
        waiter = JobWaiter()
        self._count_by_owner[owner] += 1
        self._waiters.add(waiter)
        channels: dict[int, list[str]] = {}
        for job_id in job_ids:
            channels.setdefault(self.queue.shard_number(job_id), []).extend(channels_of(job_id, only_end))
        for number, names in channels.items():
            waiter.unheard |= self._changes_at(number).add(waiter, names)
        try:
            yield waiter
        finally:
            self._count_by_owner[owner] -= 1
            self._waiters.discard(waiter)
            for number, names in channels.items():
                self._changes_at(number).remove(waiter, names)

    def _changes_at(self, number: int) -> Changes:
        """Return the changes at a server.  They outlive it: its number may come back with another URL."""
        return self._changes.setdefault(number, Changes())

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
        for waiter in self._waiters:
            waiter.close()

    async def listen(self) -> None:
        """Notify the waiters of changed jobs until canceled; subscribe again whenever Redis was away."""
        await self.queue.for_each_part(self._listen_to)

    async def _listen_to(self, number: int, part: Queue) -> None:
        backoff = Backoff()
        while True:
            begin_s = time.monotonic()
            try:
                await self._changes_at(number).listen(part.redis)
            except (RedisError, OSError) as error:
                log.warning("redis.away", error=type(error).__name__)
            if time.monotonic() - begin_s >= STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())
