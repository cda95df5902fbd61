"""The blob store in the queue's Redis, where blobs expire by themselves."""

from typing import Any, Literal
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.blob_names import checked_name, job_of
from jobs.errors import BlobMissing, BlobUnwanted, StoreError, full_redis
from jobs.lua_scripts import LuaScripts
from jobs.replication import NO_REPLICATION, Replication

PROBE_TTL_S = 10


class RedisStore:
    """Blobs in the queue's Redis."""

    beside_queue = True
    kind, signs = "redis", False

    def __init__(self, redis: "Redis", replication: Replication = NO_REPLICATION) -> None:
        self.redis: Any = redis
        self._scripts = LuaScripts(redis, replication)

    async def put(self, name: str, data: bytes, ttl_s: int, *, replicated: bool = True) -> None:
        run = self._scripts.run_replicated if replicated else self._scripts.run
        try:
            stored = await run("put_blob", {"data": data}, name=checked_name(name), ttl_s=ttl_s, id=job_of(name))
        except RedisError as error:
            if full := full_redis(error):
                raise full from error
            raise
        if not stored:
            raise BlobUnwanted(f"{name} is not stored: its job has ended or is deleted")

    async def get(self, name: str) -> bytes:
        data: bytes | None = await self.redis.get(redis_keys.BLOB + checked_name(name))
        if data is None:
            raise BlobMissing(f"there is no blob {name}, or it has expired")
        return data

    async def get_range(self, name: str, first: int, end: int) -> bytes:
        data: bytes = await self.redis.getrange(redis_keys.BLOB + checked_name(name), first, end - 1)
        if not data:  # GETRANGE answers so for a key that is missing
            raise BlobMissing(f"there is no blob {name}, or it has expired")
        return data

    async def size(self, name: str) -> int:
        size = int(await self.redis.strlen(redis_keys.BLOB + checked_name(name)))
        if not size:  # no picture is empty
            raise BlobMissing(f"there is no blob {name}, or it has expired")
        return size

    async def presigned(self, method: Literal["GET", "PUT"], name: str, valid_s: int) -> str:
        raise StoreError("Redis signs no URLs")

    async def delete(self, *names: str) -> None:
        if names:
            ids = [job_of(checked_name(name)) or "" for name in names]
            await self._scripts.run("drop_blobs", names=list(names), ids=ids)

    async def names_of_job(self, job: str) -> list[str]:
        return [name.decode() for name in await self.redis.hkeys(redis_keys.BLOBS_OF_JOB + job)]

    async def check_room(self, size: int) -> None:
        """Redis itself checks its memory when the room is reserved."""

    async def disk_room(self) -> tuple[int, int] | None:
        return None

    async def probe(self) -> None:
        key, value = f"{redis_keys.BLOB}probe", uuid4().hex
        try:
            await self.redis.set(key, value, ex=PROBE_TTL_S)
        except RedisError as error:
            if full := full_redis(error):
                raise full from error
            raise
        if await self.redis.get(key) is None:
            raise StoreError("a blob that was just written is not there")

    async def sweep(self, now_s: float) -> int:
        return 0

    async def close(self) -> None:
        return None
