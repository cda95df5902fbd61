"""Where the pictures are: memory, a folder or an object store over obstore, or Redis for the embedded mode.

Names are paths of letters, digits and `_.-`.  Every blob has a time to live; its end is kept in a Redis set, which
works on every backend alike and survives a restart; and `sweep` deletes what has outlived it.
"""

import re
import time
from typing import Any, Protocol

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, from_url
from redis.asyncio import Redis

from jobs import keys
from jobs.errors import BlobMissing, StoreError

ALLOWED = "memory://, file:///FOLDER, s3://BUCKET/PREFIX, gs://, az:// or redis://"
SWEPT_AT_A_TIME = 500


class BlobStore(Protocol):
    """Raises StoreError where the backend refuses; Redis' own errors pass through."""

    async def put(self, name: str, data: bytes, ttl_s: int) -> None: ...

    async def get(self, name: str) -> bytes:
        """Raises BlobMissing."""
        ...

    async def delete(self, *names: str) -> None:
        """Missing ones are fine."""
        ...

    async def sweep(self, now_s: float) -> int:
        """Delete what has outlived its time; returns how many."""
        ...

    async def close(self) -> None: ...


def open_store(url: str, redis: "Redis") -> BlobStore:
    """The store that a URL names; credentials come from the environment, as obstore reads them.

    Raises:
        StoreError: no such kind of store, or one that cannot be opened.
    """
    kind = url.split("://", 1)[0]
    if kind in ("redis", "rediss", "unix"):
        return RedisStore(redis)
    if kind not in ("memory", "file", "s3", "gs", "az", "abfs"):
        raise StoreError(f"got store {url!r}, expected {ALLOWED}")
    try:
        if kind == "memory":
            return ObjectStore(MemoryStore(), redis)
        if kind == "file":
            return ObjectStore(LocalStore.from_url(url, mkdir=True), redis)
        return ObjectStore(from_url(url), redis)
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(f"cannot open the store {url}: {error}") from error


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", name) or ".." in name:
        raise StoreError(f"got blob name {name!r}, expected a path of letters, digits, '_', '.' and '-'")
    return name


class RedisStore:
    """Small pictures beside the queue, which expire by themselves."""

    def __init__(self, redis: "Redis") -> None:
        self.redis: Any = redis

    async def put(self, name: str, data: bytes, ttl_s: int) -> None:
        await self.redis.set(keys.BLOB + _checked(name), data, ex=ttl_s)

    async def get(self, name: str) -> bytes:
        data: bytes | None = await self.redis.get(keys.BLOB + _checked(name))
        if data is None:
            raise BlobMissing(f"there is no {name} (any more)")
        return data

    async def delete(self, *names: str) -> None:
        if names:
            await self.redis.delete(*(keys.BLOB + _checked(name) for name in names))

    async def sweep(self, now_s: float) -> int:
        return 0

    async def close(self) -> None:
        return None


class ObjectStore:
    """Anything obstore opens."""

    def __init__(self, store: Any, redis: "Redis") -> None:  # noqa: ANN401 - obstore's own union of stores
        self.store = store
        self.redis: Any = redis

    async def put(self, name: str, data: bytes, ttl_s: int) -> None:
        # First the end, then the blob: one that is never written is swept without harm, the other way round it stays
        await self.redis.zadd(keys.BLOBS, {_checked(name): time.time() + ttl_s})
        try:
            await obstore.put_async(self.store, name, data)
        except BaseError as error:
            raise StoreError(f"cannot store {name}: {error}") from error

    async def get(self, name: str) -> bytes:
        try:
            answer = await obstore.get_async(self.store, _checked(name))
            return bytes(await answer.bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissing(f"there is no {name} (any more)") from error
        except BaseError as error:
            raise StoreError(f"cannot read {name}: {error}") from error

    async def delete(self, *names: str) -> None:
        for name in names:
            try:
                await obstore.delete_async(self.store, _checked(name))
            except (NotFoundError, FileNotFoundError):
                pass
            except BaseError as error:
                raise StoreError(f"cannot delete {name}: {error}") from error
        if names:
            await self.redis.zrem(keys.BLOBS, *names)

    async def sweep(self, now_s: float) -> int:
        due = await self.redis.zrangebyscore(keys.BLOBS, "-inf", now_s, start=0, num=SWEPT_AT_A_TIME)
        await self.delete(*(name.decode() for name in due))
        return len(due)

    async def close(self) -> None:
        return None
