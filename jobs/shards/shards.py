"""All shards of a service: watches them, reads the file that names them again, and tells which one has an id."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.end_tasks import end_tasks, run_together
from jobs.errors import RedisUrlError, ShardAway, UnknownShard
from jobs.queue import Queue
from jobs.redis_client import open_redis
from jobs.replication import NO_REPLICATION, Replication
from jobs.shards.numbers import ranked, shard_of
from jobs.shards.shard import ANSWER_S, CHECK_S, Shard
from jobs.shards.urls import FILE_MARK, read_shards
from jobs.storage_limits import StorageLimits

T = TypeVar("T")
log = structlog.get_logger()
FILE_S = 2.0
"""How often the file of shards is looked at."""
LINGER_S = 30.0
"""How long the connections of a shard stay that was removed from the file: requests may still use it."""


class Shards:
    """The shards of the setting `text`, by number.

    Args:
        bundle: the default bundle of the service.
        open_client: opens the client of a URL.
        quiet: log nothing, as a command does.
        linger_s: how long the connections of a shard stay that is removed from the file.
    """

    def __init__(
        self, text: str, *, bundle: str = "", replication: Replication = NO_REPLICATION,
        open_client: "Callable[[str], Redis]" = open_redis, linger_s: float = LINGER_S,
        quiet: bool = False,
    ) -> None:  # fmt: skip
        self.text, self.bundle, self.replication, self._linger_s = text, bundle, replication, linger_s
        self.storage: StorageLimits | None = None
        self._open, self.quiet = open_client, quiet
        self._by_number: dict[int, Shard] = {}
        self._changed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._file_seen: object = None
        self._apply(read_shards(text))

    @property
    def all(self) -> Sequence[Shard]:
        return list(self._by_number.values())

    @property
    def up(self) -> Sequence[Shard]:
        """Returns the shards that answer.

        Raises:
            ShardAway: none does.
        """
        found = [shard for shard in self.all if shard.trouble is None]
        if not found:
            raise ShardAway("no shard answers: " + "; ".join(f"{shard}: {shard.trouble}" for shard in self.all))
        return found

    @property
    def away(self) -> tuple[int, ...]:
        """The numbers of the shards that do not answer."""
        return tuple(shard.number for shard in self.all if shard.trouble is not None)

    def numbered(self, number: int) -> Shard:
        """Returns the shard of this number.

        Raises:
            UnknownShard: there is none.
        """
        shard = self._by_number.get(number)
        if shard is None:
            known = ", ".join(map(str, self._by_number))
            raise UnknownShard(f"there is no shard {number}; this service has {known}")
        return shard

    def of(self, an_id: str) -> Shard:
        """Returns the shard that an id names.

        Raises:
            UnknownShard: there is none of this number.
            ShardAway: it does not answer.
        """
        return self.numbered(shard_of(an_id)).checked()

    def ranked(self, subject: str) -> Sequence[Shard]:
        """Returns all shards in the order of this subject, as `numbers.ranked`."""
        return [self._by_number[number] for number in ranked(subject, self._by_number)]

    def least_loaded(self) -> Shard:
        """Returns the shard for a new job: the least backlog of those that take jobs, by chance among equal ones.

        Raises:
            ShardAway: none takes jobs.
        """
        takers = [shard for shard in self.all if shard.takes_jobs]
        if not takers:
            raise ShardAway(f"no shard takes new jobs: {'; '.join(self.sentences())}")
        return min(takers, key=lambda shard: (shard.load.full, shard.backlog_s, random.random()))

    def first_taker(self, subject: str) -> Shard:
        """Returns the first shard of `ranked` that is not drained.

        Raises:
            ShardAway: it does not answer, or all are drained.
        """
        for shard in self.ranked(subject):
            if shard.drain is None:
                return shard.checked()
        raise ShardAway(f"no shard takes new jobs: {'; '.join(self.sentences())}")

    def sentences(self) -> list[str]:
        """Returns what keeps shards from taking new jobs."""
        away = [f"{shard} is away: {shard.trouble}" for shard in self.all if shard.trouble is not None]
        return away + [f"an operator drains {shard}" for shard in self.all if shard.drain and not shard.trouble]

    async def ask(self, work: Callable[[Shard], Awaitable[T]]) -> list[tuple[Shard, T]]:
        """Run a work on every shard that answers, at the same time.  Returns the answers, in the order of the numbers.

        Raises:
            ShardAway: no shard answers.
        """
        asked = self.up
        answers = await asyncio.gather(*(_in_time(work, shard) for shard in asked), return_exceptions=True)
        found = []
        for shard, answer in zip(asked, answers, strict=True):
            if isinstance(answer, RedisError | OSError | TimeoutError):
                shard.failed(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append((shard, answer))
        if not found:
            raise ShardAway("no shard answers")
        return found

    async def tell(self, work: Callable[[Shard], Awaitable[T]]) -> list[T]:
        """Run a work on every shard, also those that have been away.

        Raises:
            ShardAway: one does not answer; the others have done it.
        """
        answers = await asyncio.gather(*(_in_time(work, shard) for shard in self.all), return_exceptions=True)
        missed = []
        for shard, answer in zip(self.all, answers, strict=True):
            if isinstance(answer, RedisError | OSError | TimeoutError):
                missed.append(shard)
            elif isinstance(answer, BaseException):
                raise answer
        if missed:
            raise ShardAway(f"{', '.join(map(str, missed))} did not answer, the others have the order; repeat it later")
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def check(self) -> None:
        """Ask all servers for their state, at the same time."""
        await asyncio.gather(*(shard.check(self.bundle) for shard in self.all))
        self._share_room()

    def _share_room(self) -> None:
        if self.storage is not None:
            total = sum(shard.load.stored_bytes for shard in self.all)
            for shard in self.all:
                shard.queue.storage = replace(self.storage, elsewhere=total - shard.load.stored_bytes)

    async def watch(self) -> None:
        """Check the servers and the file until canceled."""
        await run_together(self.for_each(self._watch_one), self._watch_file())

    async def _watch_one(self, shard: Shard) -> None:
        while True:
            await shard.check(self.bundle)
            self._share_room()
            await asyncio.sleep(CHECK_S)

    async def _watch_file(self) -> None:
        while True:
            await asyncio.sleep(FILE_S)
            self.read_file()

    def read_file(self) -> None:
        """Read the file of shards again if it has changed; one that is not valid changes nothing."""
        if not self.text.startswith(FILE_MARK):
            return
        seen: object
        try:
            now = Path(self.text.removeprefix(FILE_MARK)).stat()
            seen = now.st_mtime_ns, now.st_size, now.st_ino
        except OSError as error:
            seen = str(error)
        if seen == self._file_seen:
            return
        self._file_seen = seen
        try:
            self._apply(read_shards(self.text))
        except RedisUrlError as error:
            log.error("shards.unreadable", why=str(error))

    def _apply(self, urls: Mapping[int, str]) -> None:
        before = self._by_number
        kept = {number: shard for number, shard in before.items() if urls.get(number) == shard.url}
        new = {number: self._shard(number, url) for number, url in urls.items() if number not in kept}
        gone = [shard for number, shard in before.items() if number not in kept]
        self._by_number = dict(sorted({**kept, **new}.items()))
        if before and (new or gone):
            log.info("shards.changed", shards=list(self._by_number), added=list(new), removed=[g.number for g in gone])
            for shard in gone:
                task = asyncio.get_running_loop().create_task(_close_later(shard, self._linger_s))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def limit(self, storage: StorageLimits) -> None:
        """Set the limits of the whole store; each shard gets what the others leave."""
        self.storage = storage
        for shard in self.all:
            shard.queue.storage = storage

    def _shard(self, number: int, url: str) -> Shard:
        redis = self._open(url)
        return Shard(number, url, redis, Queue(redis, self.storage, self.replication), self.quiet)

    async def for_each(self, work: Callable[[Shard], Coroutine[Any, Any, None]]) -> None:
        """Run an endless work for each shard, also for those that are added later; end it for those that are removed.

        Raises:
            Exception: whatever a work raises; the others have ended then.
        """
        tasks: dict[Shard, asyncio.Task[None]] = {}
        try:
            while True:
                changed = asyncio.create_task(self._changed.wait())
                try:
                    for shard in tasks.keys() - set(self.all):
                        await end_tasks(tasks.pop(shard))
                    for shard in self.all:
                        if shard not in tasks:
                            tasks[shard] = asyncio.create_task(work(shard))
                    await asyncio.wait({changed, *tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await end_tasks(changed)
                for task in tasks.values():
                    if task.done():
                        task.result()
                        raise RuntimeError("a work that should be endless has ended")
        finally:
            await end_tasks(*tasks.values())

    async def close(self) -> None:
        """Close all connections."""
        await end_tasks(*self._closing)
        for shard in self.all:
            await shard.redis.aclose()


async def _in_time(work: Callable[[Shard], Awaitable[T]], shard: Shard) -> T:
    async with asyncio.timeout(ANSWER_S):
        return await work(shard)


async def _close_later(shard: Shard, after_s: float) -> None:
    try:
        await asyncio.sleep(after_s)
    finally:
        await shard.redis.aclose()
