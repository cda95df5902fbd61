"""The workers that are alive: each announces itself every few seconds, and is forgotten when it stops.

Each method raises redis.exceptions.RedisError when Redis is away.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.record import WorkerInfo


class WorkerRegistry:
    """One entry for each bundle of each worker."""

    def __init__(self, redis: "Redis") -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes

    async def announce(self, *infos: WorkerInfo) -> None:
        """Register a worker, or say that it is still alive: all entries of its bundles in one transaction."""
        async with self.redis.pipeline(transaction=True) as pipeline:
            for info in infos:
                entry = _entry(info.name, info.bundle)
                pipeline.sadd(redis_keys.WORKERS, entry)
                pipeline.set(redis_keys.WORKER + entry, info.model_dump_json(), ex=redis_keys.WORKER_TTL_S)
            await pipeline.execute()

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
