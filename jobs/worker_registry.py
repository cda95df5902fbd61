"""The workers that are alive, and which of them an operator drains.

Each worker announces itself every few seconds, and is forgotten when it stops.  An operator drains a worker by its
name, or all workers of a host, also those that start later.  scripts/lease.lua looks the drain up in the same step in
which it leases, so that a worker that is drained gets nothing more.

Each method raises redis.exceptions.RedisError when Redis is away.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import UnknownName
from jobs.lua_scripts import LuaScripts
from jobs.nearest_name import unknown_name
from jobs.record import OperatorMark, WorkerInfo

GONE_MS = 24 * 3600 * 1000
"""A worker that was not there for a while may only be cut off from Redis; after this time it is gone."""


class WorkerRegistry:
    """One entry for each bundle of each worker."""

    def __init__(self, redis: "Redis", scripts: LuaScripts | None = None) -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self._scripts = scripts or LuaScripts(redis)

    async def announce(self, *infos: WorkerInfo) -> None:
        """Register a worker, or say that it is still alive: all entries of its bundles in one step."""
        entries = [_entry(info.name, info.bundle) for info in infos]
        texts = [info.model_dump_json(exclude={"drain"}) for info in infos]
        await self._scripts.run("announce", entries=entries, infos=texts)

    async def withdraw(self, name: str, bundles: Sequence[str]) -> None:
        """Remove a worker that stops.  A drain of its name goes with it: the name never comes back."""
        entries = [_entry(name, bundle) for bundle in bundles]
        await self.redis.srem(redis_keys.WORKERS, *entries)
        await self.redis.delete(*(redis_keys.WORKER + entry for entry in entries))
        await self.redis.hdel(redis_keys.DRAINED, name)

    async def alive(self) -> list[WorkerInfo]:
        """Returns the workers that are alive; a worker with several bundles appears once for each."""
        entries = sorted(entry.decode() for entry in await self.redis.smembers(redis_keys.WORKERS))
        if not entries:
            return []
        infos = await self.redis.mget([redis_keys.WORKER + entry for entry in entries])
        if expired := [entry for entry, info in zip(entries, infos, strict=True) if info is None]:
            await self.redis.srem(redis_keys.WORKERS, *expired)
        drains = await self.drains()
        return [_with_drain(WorkerInfo.model_validate_json(info), drains) for info in infos if info is not None]

    async def bundles(self) -> set[str]:
        """Returns the bundles of the workers that were alive lately, without reading what each of them says."""
        return {entry.decode().partition("/")[2] for entry in await self.redis.smembers(redis_keys.WORKERS)}

    async def drains(self) -> dict[str, OperatorMark]:
        """Returns the names of the workers and hosts that an operator drains."""
        marks = await self.redis.hgetall(redis_keys.DRAINED)
        return {name.decode(): OperatorMark.model_validate_json(mark) for name, mark in marks.items()}

    async def drain(self, name: str, by: str) -> list[WorkerInfo]:
        """Let a worker, or all workers of a host, finish what they hold and take nothing more.

        Returns their entries.  A second drain changes nothing.

        Raises:
            UnknownName: no worker and no host of a worker has this name.
        """
        workers = await self.alive()
        if not _of(name, workers):
            await self._check_drained(name)
        one = any(worker.name == name for worker in workers)
        mark = OperatorMark(since_ms=time.time_ns() // 10**6, by=by, of="worker" if one else "host")
        await self.redis.hsetnx(redis_keys.DRAINED, name, mark.model_dump_json())
        await self._forget_gone(workers)
        return _of(name, await self.alive())

    async def resume(self, name: str) -> list[WorkerInfo]:
        """Let a worker, or all workers of a host, take jobs again.  Returns their entries.

        Raises:
            UnknownName: no worker and no host of a worker has this name, and it is not drained either.
        """
        if not await self.redis.hdel(redis_keys.DRAINED, name) and not _of(name, await self.alive()):
            await self._check_drained(name)
        return _of(name, await self.alive())

    async def _forget_gone(self, workers: Sequence[WorkerInfo]) -> None:
        """Remove old drains of workers that were killed: their names never come back.  Those of hosts stay."""
        oldest_ms = time.time_ns() // 10**6 - GONE_MS
        alive = {worker.name for worker in workers}
        for name, mark in (await self.drains()).items():
            if mark.of == "worker" and mark.since_ms < oldest_ms and name not in alive:
                await self.redis.hdel(redis_keys.DRAINED, name)

    async def _check_drained(self, name: str) -> None:
        drains, workers = await self.drains(), await self.alive()
        if name not in drains:
            known = {*drains, *(worker.name for worker in workers), *(worker.host for worker in workers)}
            raise UnknownName(unknown_name("worker or host", name, known))


def _of(name: str, workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    return [worker for worker in workers if name in (worker.name, worker.host)]


def _with_drain(info: WorkerInfo, drains: Mapping[str, OperatorMark]) -> WorkerInfo:
    mark = drains.get(info.name) or drains.get(info.host)
    return info.model_copy(update={"drain": mark}) if mark else info


def _entry(worker: str, bundle: str) -> str:
    return f"{worker}/{bundle}"
