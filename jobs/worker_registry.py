"""The workers that are alive: each announces itself every few seconds, and is forgotten when it stops.

Each method raises redis.exceptions.RedisError when Redis is away.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.lua_scripts import LuaScripts
from jobs.record import WorkerInfo


class WorkerRegistry:
    """One entry for each bundle of each worker."""

    def __init__(self, redis: "Redis", scripts: LuaScripts | None = None) -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self._scripts = scripts or LuaScripts(redis)

    async def announce(self, *infos: WorkerInfo) -> None:
        """Register a worker, or say that it is still alive: all entries of its bundles in one step."""
        entries = [_entry(info.name, info.bundle) for info in infos]
        await self._scripts.run("announce", entries=entries, infos=[info.model_dump_json() for info in infos])

    async def withdraw(self, name: str, bundles: Sequence[str]) -> None:
        """Remove a worker that stops."""
        entries = [_entry(name, bundle) for bundle in bundles]
        await self.redis.srem(redis_keys.WORKERS, *entries)
        await self.redis.delete(*(redis_keys.WORKER + entry for entry in entries))

    async def alive(self) -> list[WorkerInfo]:
        """Returns the workers that are alive; a worker with several bundles appears once for each."""
        entries = sorted(entry.decode() for entry in await self.redis.smembers(redis_keys.WORKERS))
        if not entries:
            return []
        infos = await self.redis.mget([redis_keys.WORKER + entry for entry in entries])
        if expired := [entry for entry, info in zip(entries, infos, strict=True) if info is None]:
            await self.redis.srem(redis_keys.WORKERS, *expired)
        return [WorkerInfo.model_validate_json(info) for info in infos if info is not None]


def _entry(worker: str, bundle: str) -> str:
    return f"{worker}/{bundle}"
