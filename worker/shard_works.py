"""The work of a worker on all its Redis servers, those included that are added while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from jobs.end_tasks import end_tasks
from jobs.errors import RedisUrlError
from jobs.shards.shards import FILE_S, Shards
from jobs.shards.urls import is_sharded
from worker import redis_client
from worker.errors import RedisRefused
from worker.shard_work import ShardWork, SharedParts

log = structlog.get_logger()
NEVER_S = 365 * 24 * 3600.0


class ShardWorks:
    """One ShardWork for each server of the setting `text`.

    A server that is taken out of the file gets no more leases; its work ends when the jobs that are held have ended.
    """

    def __init__(self, shared: SharedParts, text: str) -> None:
        self.shared = shared
        self._shards: Shards | None = None
        self._tasks: dict[ShardWork, list[asyncio.Task[None]]] = {}
        self._leasing: dict[ShardWork, asyncio.Task[None]] = {}
        self._draining: asyncio.Event | None = None
        self._failed = asyncio.Event()
        if not is_sharded(text):
            self._by_number = {0: ShardWork(shared, text, redis_client.connect(text))}
            self._urls = {0: text}
            return
        try:
            # A removed server keeps its connections for as long as its jobs run
            self._shards = Shards(text, open_client=redis_client.connect, linger_s=NEVER_S)
        except RedisUrlError as error:
            raise RedisRefused(str(error)) from None
        self._urls = {shard.number: shard.url for shard in self._shards.all}
        self._by_number = {shard.number: ShardWork(shared, shard.url, shard.redis) for shard in self._shards.all}

    @property
    def all(self) -> list[ShardWork]:
        """Those included that end."""
        return list(dict.fromkeys([*self._by_number.values(), *self._tasks]))

    @property
    def busy(self) -> bool:
        """Whether a job is not committed yet, or what it left is not deleted yet."""
        return any(work.committer.busy for work in self.all)

    def start(self) -> list[asyncio.Task[None]]:
        """Start the loops of all servers.  Returns tasks that should run for ever."""
        for work in self._by_number.values():
            self._start_one(work)
        return [asyncio.create_task(loop) for loop in (self._follow(), self._watch())]

    def _start_one(self, work: ShardWork) -> None:
        self._tasks[work] = [asyncio.create_task(loop) for loop in work.loops()]
        if self._draining is not None:
            self._lease_from(work, self._draining)

    async def _watch(self) -> None:
        """Return with the error of the first loop that ends, which none should."""
        while True:
            tasks = [task for loops in self._tasks.values() for task in loops]
            if done := [task for task in tasks if task.done() and not task.cancelled()]:
                done[0].result()
                return
            await asyncio.wait(tasks, timeout=FILE_S, return_when=asyncio.FIRST_COMPLETED)

    async def _follow(self) -> None:
        """Take up servers that are added to the file, and leave those that are removed."""
        while True:
            await asyncio.sleep(FILE_S)
            if self._shards is None:
                continue
            self._shards.read_file()
            wanted = {shard.number: shard.url for shard in self._shards.all}
            for number in [number for number, url in self._urls.items() if wanted.get(number) != url]:
                log.info("shard.left", shard=number)
                await end_tasks(*([task] if (task := self._leasing.pop(self._by_number[number], None)) else []))
                del self._by_number[number], self._urls[number]
            for shard in self._shards.all:
                if shard.number not in self._by_number:
                    log.info("shard.taken", shard=shard.number)
                    work = ShardWork(self.shared, shard.url, shard.redis)
                    self._by_number[shard.number], self._urls[shard.number] = work, shard.url
                    self._start_one(work)
            for work in [work for work in self._tasks if work not in self._by_number.values() and not work.busy]:
                await end_tasks(*self._tasks.pop(work))
                await work.close(FILE_S, withdraw=True)

    async def lease(self, draining: asyncio.Event) -> None:
        """Lease from all servers until the worker drains."""
        self._draining = draining
        for work in self._by_number.values():
            self._lease_from(work, draining)
        while self._leasing:
            done, _ = await asyncio.wait(
                self._leasing.values(), timeout=FILE_S, return_when=asyncio.FIRST_COMPLETED
            )  # fmt: skip
            for task in done:
                if not task.cancelled():
                    task.result()
            if draining.is_set() and all(task.done() for task in self._leasing.values()):
                return

    def _lease_from(self, work: ShardWork, draining: asyncio.Event) -> None:
        self._leasing[work] = asyncio.create_task(work.leasing.run(draining))

    async def end_leases(self) -> None:
        """Stop leasing at once."""
        await end_tasks(*self._leasing.values())

    async def on_each(self, action: Callable[[ShardWork], Awaitable[Any]]) -> list[Any]:
        """Run an action on all servers at the same time."""
        return list(await asyncio.gather(*(action(work) for work in self.all)))

    async def clock_skew_s(self) -> float:
        """Returns this machine's clock minus that of the first server that answers."""
        for work in self.all[:-1]:
            try:
                return await work.queue.clock_skew_s()
            except (RedisError, OSError):
                continue
        return await self.all[-1].queue.clock_skew_s()

    async def end(self) -> None:
        """End the loops of all servers."""
        await end_tasks(*(task for loops in self._tasks.values() for task in loops), *self._leasing.values())

    async def close(self, patience_s: float, answered: Callable[[ShardWork], bool]) -> None:
        """Close all connections; the worker's entry is removed on servers that have answered."""
        await self.on_each(lambda work: work.close(patience_s, withdraw=answered(work)))
        if self._shards is not None:
            await self._shards.close()
