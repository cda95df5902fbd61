"""The blob store, which holds the pictures: memory, a folder or an object store (through obstore), or Redis.

Names are paths of letters, digits and `_.-`.  Every blob has a time to live.  A Redis set keeps the time at which each
blob expires, which works for every backend and survives a restart; `sweep` deletes expired blobs.  There is one such
set, so a Redis serves one store: after a change of the store's URL, blobs in the old store are never deleted.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, from_url
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.blob_names import is_blob_name
from jobs.errors import BlobMissing, StoreError

if TYPE_CHECKING:
    from obstore.store import RetryConfig, S3Config  # obstore has them for type checkers only

ALLOWED = "memory://, file:///FOLDER, s3://BUCKET/PREFIX?region=R&endpoint=URL, gs://, az:// or redis://"
CARRIED_BYTES = 1 << 20
"""The largest blob that a script of the queue takes along: Redis serves no other client while the script runs."""
MAX_SWEPT_AT_ONCE = 500
CONCURRENT_DELETES = 4
"""Each delete takes a thread of the loop's pool; the other threads serve requests that clients wait for."""
RETRY: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}
"""obstore's default of three minutes is longer than any client waits."""


@dataclass(frozen=True)
class Blob:
    """A blob to store, with its name and time to live."""

    name: str
    data: bytes
    ttl_s: int


class BlobStore(Protocol):
    """Named bytes.  Methods raise StoreError where the backend fails, and RedisError when Redis is away."""

    @property
    def beside_queue(self) -> bool:
        """Whether the queue's scripts can store small blobs, which saves a round trip and leaves no orphans."""
        ...

    async def put(self, name: str, data: bytes, ttl_s: int) -> None: ...

    async def get(self, name: str) -> bytes:
        """Raises BlobMissing."""
        ...

    async def delete(self, *names: str) -> None:
        """Delete blobs.  Missing blobs are ignored, and a failure does not stop the others."""
        ...

    async def sweep(self, now_s: float) -> int:
        """Delete expired blobs.  Returns how many."""
        ...

    async def close(self) -> None: ...


def open_store(url: str, redis: "Redis") -> BlobStore:
    """Returns the store at a URL.  obstore reads the credentials from the environment.

    Raises:
        StoreError: unknown kind of store, or it cannot be opened.  The message never repeats the URL, which may hold a
            password.
    """
    kind, separator, rest = url.partition("://")
    if separator and kind in ("redis", "rediss", "unix"):
        return RedisStore(redis)
    if not separator or kind not in OPENERS:
        got = f"a store of kind {kind!r}" if separator else "a store without a kind"
        raise StoreError(f"got {got}, expected {ALLOWED}")
    location, _, query = rest.partition("?")
    try:
        options = dict(parse_qsl(query, strict_parsing=bool(query)))
        return ObjectStore(OPENERS[kind](f"{kind}://{location}", options), redis)
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(f"cannot open the {kind} store: {_first_line(error)}; expected {ALLOWED}") from error


def _memory(url: str, options: dict[str, str]) -> Any:  # noqa: ANN401 - obstore's own union of stores
    _expect_options(options, ())
    if url != "memory://":
        raise ValueError("a memory store has no path")
    return MemoryStore()


def _folder(url: str, options: dict[str, str]) -> Any:  # noqa: ANN401
    _expect_options(options, ())
    if not url.removeprefix("file://").strip("/"):
        raise ValueError("the root of the file system cannot be a store")
    return LocalStore.from_url(url, mkdir=True, automatic_cleanup=True)  # a job's folder goes with its last blob


def _s3(url: str, options: dict[str, str]) -> Any:  # noqa: ANN401
    _expect_options(options, ("region", "endpoint"))
    config: S3Config = {}
    if "region" in options:
        config["region"] = options["region"]
    if "endpoint" in options:
        config["endpoint"] = options["endpoint"]
    return from_url(url, config=config, retry_config=RETRY)


def _cloud(url: str, options: dict[str, str]) -> Any:  # noqa: ANN401
    _expect_options(options, ())
    return from_url(url, retry_config=RETRY)


OPENERS: dict[str, Callable[[str, dict[str, str]], Any]] = {
    "memory": _memory,
    "file": _folder,
    "s3": _s3,
    "gs": _cloud,
    "az": _cloud,
    "abfs": _cloud,
}


def _expect_options(got: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Refuse options that obstore would ignore: a misspelled region, or a secret that belongs in the environment."""
    if unknown := sorted(set(got) - set(allowed)):
        raise ValueError(f"got the options {', '.join(unknown)}, expected {' and '.join(allowed) or 'none'}")


def _first_line(error: Exception) -> str:
    """Returns obstore's message without the Rust structures that follow it."""
    return str(error).strip().split("\n", 1)[0]


def _checked(name: str) -> str:
    if not is_blob_name(name):
        raise StoreError(f"got blob name {name!r}, expected a path of letters, digits, '_', '.' and '-'")
    return name


class RedisStore:
    """Blobs in the queue's Redis, which expire by themselves."""

    beside_queue = True

    def __init__(self, redis: "Redis") -> None:
        self.redis: Any = redis

    async def put(self, name: str, data: bytes, ttl_s: int) -> None:
        await self.redis.set(redis_keys.BLOB + _checked(name), data, ex=ttl_s)

    async def get(self, name: str) -> bytes:
        data: bytes | None = await self.redis.get(redis_keys.BLOB + _checked(name))
        if data is None:
            raise BlobMissing(f"there is no blob {name}, or it has expired")
        return data

    async def delete(self, *names: str) -> None:
        if names:
            await self.redis.delete(*(redis_keys.BLOB + _checked(name) for name in names))

    async def sweep(self, now_s: float) -> int:
        return 0

    async def close(self) -> None:
        return None


class ObjectStore:
    """Any store that obstore opens.

    Calls run in threads and not as obstore's coroutines.  Those answer from a Rust thread that touches Python once more
    after the answer; a process that ends at that moment aborts (17 of 30 with obstore 0.12.1, none with threads).
    """

    beside_queue = False

    def __init__(self, store: Any, redis: "Redis") -> None:  # noqa: ANN401 - obstore's own union of stores
        self.store = store
        self.redis: Any = redis

    async def put(self, name: str, data: bytes, ttl_s: int) -> None:
        # The expiry first: the sweep ignores a blob that was never written, but never finds a blob without expiry
        await self.redis.zadd(redis_keys.BLOBS, {_checked(name): time.time() + ttl_s})
        try:
            await asyncio.to_thread(obstore.put, self.store, name, data)
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot store {name}: {_first_line(error)}") from error

    async def get(self, name: str) -> bytes:
        try:
            return await asyncio.to_thread(self._read, _checked(name))
        except FileNotFoundError as error:
            raise BlobMissing(f"there is no blob {name}, or it has expired") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot read {name}: {_first_line(error)}") from error

    async def delete(self, *names: str) -> None:
        _, failures = await self._delete([_checked(name) for name in names])
        if failures:
            raise failures[0]

    async def sweep(self, now_s: float) -> int:
        due = await self.redis.zrangebyscore(redis_keys.BLOBS, "-inf", now_s, start=0, num=MAX_SWEPT_AT_ONCE)
        deleted, failures = await self._delete([name.decode() for name in due])
        if failures:
            raise failures[0]
        return deleted

    async def close(self) -> None:
        return None

    def _read(self, name: str) -> bytes:
        return bytes(obstore.get(self.store, name).bytes())

    async def _delete(self, names: list[str]) -> tuple[int, list[StoreError]]:
        """Delete blobs and their expiry.  Returns how many were deleted, and the errors of the others."""
        limit = asyncio.Semaphore(CONCURRENT_DELETES)
        failures = await asyncio.gather(*(self._delete_one(name, limit) for name in names))
        gone = [name for name, failure in zip(names, failures, strict=True) if failure is None]
        if gone:
            await self.redis.zrem(redis_keys.BLOBS, *gone)
        return len(gone), [failure for failure in failures if failure]

    async def _delete_one(self, name: str, limit: asyncio.Semaphore) -> StoreError | None:
        async with limit:
            try:
                await asyncio.to_thread(obstore.delete, self.store, name)
            except FileNotFoundError:
                pass
            except (BaseError, OSError, ValueError) as error:
                failure = StoreError(f"cannot delete {name}: {_first_line(error)}")
                failure.__cause__ = error
                return failure
        return None
