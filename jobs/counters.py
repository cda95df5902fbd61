"""Counters that all processes share, in one Redis hash.  The service exports them as metrics.

Each method raises redis.exceptions.RedisError when Redis is away.
"""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys


class Counters:
    """Counters by name.  A name with labels reads `name:label:label`; scripts of the queue count here, too."""

    def __init__(self, redis: "Redis") -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes

    async def add(self, name: str, count: int = 1) -> None:
        await self.redis.hincrby(redis_keys.COUNTERS, name, count)

    async def read(self) -> Mapping[str, int]:
        return {name.decode(): int(value) for name, value in (await self.redis.hgetall(redis_keys.COUNTERS)).items()}
