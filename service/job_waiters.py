"""Who waits for which job in this process: one Redis subscription wakes them all.

A message may be lost while Redis is away, so nobody waits longer than POLL_S without looking for himself.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from redis.exceptions import RedisError

from jobs.backoff import Backoff
from jobs.queue import Queue
from service.refusals import TooManyWaits

log = structlog.get_logger()
POLL_S = 2.0


class Bell:
    """Rings when its job has changed, or may have; with `at_end` only when it is over, which spares a look a step."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, most_s: float) -> None:
        """Return at the next change, and after `most_s` or POLL_S at the latest."""
        try:
            async with asyncio.timeout(max(0.0, min(most_s, POLL_S))):
                await self._rung.wait()
        except TimeoutError:
            return
        self._rung.clear()


class Wakes:
    """The bells of this process.  `closed` once the server stops: whoever waits looks at it and ends."""

    def __init__(self, queue: Queue, most_waits: int) -> None:
        self.queue, self.most_waits = queue, most_waits
        self.closed = False
        self._bells: dict[str, set[Bell]] = {}
        self._held: Counter[str | None] = Counter()

    @contextmanager
    def bell(self, job: str, owner: str | None, at_end: bool = False) -> Iterator[Bell]:
        """A bell for this job, counted on its owner's account.

        Raises:
            TooManyWaits: the owner holds as many as may be.
        """
        self.check(owner)
        bell = Bell(at_end)
        self._held[owner] += 1
        self._bells.setdefault(job, set()).add(bell)
        try:
            yield bell
        finally:
            self._held[owner] -= 1
            self._bells[job].discard(bell)
            if not self._bells[job]:
                del self._bells[job]

    def check(self, owner: str | None) -> None:
        """Raises TooManyWaits where `bell` would."""
        if self._held[owner] >= self.most_waits:
            raise TooManyWaits(f"{self.most_waits} requests wait already", headers={"Retry-After": "5"})

    def close(self) -> None:
        """End every wait; from the loop's own thread."""
        self.closed = True
        self._ring_all()

    def _ring_all(self) -> None:
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()

    async def listen(self) -> None:
        """Ring for ever, across Redis' absences."""
        backoff = Backoff()
        while True:
            try:
                async for job, over in self.queue.changes():
                    backoff.reset()
                    for bell in self._bells.get(job, ()):
                        if over or not bell.at_end:
                            bell.ring()
            except (RedisError, OSError) as error:
                log.warning("redis.away", error=type(error).__name__)
            self._ring_all()  # something may have been missed
            await asyncio.sleep(backoff.next_s())
