"""Where the pictures are: memory, a folder or an object store over obstore, or Redis for the embedded mode.

Names are paths of letters, digits and `_.-`.  Every blob has a time to live; its end is kept in a Redis set, which
works on every backend alike and survives a restart; and `sweep` deletes what has outlived it.  There is one set, so
one store to a Redis: after a change of the store's URL the blobs of the old place are nobody's.
"""

import asyncio
import re
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
from jobs.errors import BlobMissing, StoreError

if TYPE_CHECKING:
    from obstore.store import RetryConfig, S3Config  # obstore has them for type checkers only

ALLOWED = "memory://, file:///FOLDER, s3://BUCKET/PREFIX?region=R&endpoint=URL, gs://, az:// or redis://"
CARRIED_BYTES = 1 << 20
"""The largest blob that goes with a script of the queue: Redis does nothing else meanwhile."""
SWEPT_AT_A_TIME = 500
DELETED_AT_ONCE = 4
"""Each takes a thread of the loop's pool; the others belong to what clients wait for."""
RETRY: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}
"""obstore's own three minutes would outlast every client that waits for its answer."""


@dataclass(frozen=True)
class Blob:
    """A picture on its way into the store."""

    name: str
    data: bytes
    ttl_s: int


class BlobStore(Protocol):
    """Raises StoreError where the backend refuses; Redis' own errors pass through."""

    @property
    def beside_queue(self) -> bool:
        """Whether small blobs may go with the queue's own scripts, which spares a round trip and leaves no orphans."""
        ...

    async def put(self, name: str, data: bytes, ttl_s: int) -> None: ...

    async def get(self, name: str) -> bytes:
        """Raises BlobMissing."""
        ...

    async def delete(self, *names: str) -> None:
        """Missing ones are fine, and one that cannot be deleted keeps no other from it."""
        ...

    async def sweep(self, now_s: float) -> int:
        """Delete what has outlived its time; returns how many."""
        ...

    async def close(self) -> None: ...


def open_store(url: str, redis: "Redis") -> BlobStore:
    """The store that a URL names; credentials come from the environment, as obstore reads them.

    Raises:
        StoreError: no such kind of store, or one that cannot be opened.  It never repeats the URL, which may hold a
            password.
    """
    kind, separator, rest = url.partition("://")
    if separator and kind in ("redis", "rediss", "unix"):
        return RedisStore(redis)
    if not separator or kind not in OPENERS:
        got = f"a store of kind {kind!r}" if separator else "a store without a kind"
        raise StoreError(f"got {got}, expected {ALLOWED}")
    place, _, query = rest.partition("?")
    try:
        options = dict(parse_qsl(query, strict_parsing=bool(query)))
        return ObjectStore(OPENERS[kind](f"{kind}://{place}", options), redis)
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(f"cannot open the {kind} store: {_first_line(error)}; expected {ALLOWED}") from error


def _memory(url: str, options: dict[str, str]) -> Any:  # noqa: ANN401 - obstore's own union of stores
    _expect_options(options, ())
    if url != "memory://":
        raise ValueError("memory has no places")
    return MemoryStore()


def _folder(url: str, options: dict[str, str]) -> Any:  # noqa: ANN401
    _expect_options(options, ())
    if not url.removeprefix("file://").strip("/"):
        raise ValueError("the root of the file system is no place for blobs")
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
    """obstore ignores what it does not know: a misspelt region, or a secret that belongs into the environment."""
    if unknown := sorted(set(got) - set(allowed)):
        raise ValueError(f"got the options {', '.join(unknown)}, expected {' and '.join(allowed) or 'none'}")


def _first_line(error: Exception) -> str:
    """obstore's message without the page of Rust structures below it."""
    return str(error).strip().split("\n", 1)[0]


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", name) or ".." in name or "." in name.split("/"):
        raise StoreError(f"got blob name {name!r}, expected a path of letters, digits, '_', '.' and '-'")
    return name


class RedisStore:
    """Small pictures beside the queue, which expire by themselves."""

    beside_queue = True

    def __init__(self, redis: "Redis") -> None:
        self.redis: Any = redis

    async def put(self, name: str, data: bytes, ttl_s: int) -> None:
        await self.redis.set(redis_keys.BLOB + _checked(name), data, ex=ttl_s)

    async def get(self, name: str) -> bytes:
        data: bytes | None = await self.redis.get(redis_keys.BLOB + _checked(name))
        if data is None:
            raise BlobMissing(f"there is no {name} (any more)")
        return data

    async def delete(self, *names: str) -> None:
        if names:
            await self.redis.delete(*(redis_keys.BLOB + _checked(name) for name in names))

    async def sweep(self, now_s: float) -> int:
        return 0

    async def close(self) -> None:
        return None


class ObjectStore:
    """Anything obstore opens.

    Threads and not obstore's own coroutines: those answer from a Rust thread that touches Python once more after the
    answer, and a process that ends in that moment aborts (17 of 30 with obstore 0.12.1, none of 30 with threads).
    """

    beside_queue = False

    def __init__(self, store: Any, redis: "Redis") -> None:  # noqa: ANN401 - obstore's own union of stores
        self.store = store
        self.redis: Any = redis

    async def put(self, name: str, data: bytes, ttl_s: int) -> None:
        # First the end, then the blob: one that is never written is swept without harm, the other way round it stays
        await self.redis.zadd(redis_keys.BLOBS, {_checked(name): time.time() + ttl_s})
        try:
            await asyncio.to_thread(obstore.put, self.store, name, data)
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot store {name}: {_first_line(error)}") from error

    async def get(self, name: str) -> bytes:
        try:
            return await asyncio.to_thread(self._read, _checked(name))
        except FileNotFoundError as error:
            raise BlobMissing(f"there is no {name} (any more)") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot read {name}: {_first_line(error)}") from error

    async def delete(self, *names: str) -> None:
        _, failures = await self._delete([_checked(name) for name in names])
        if failures:
            raise failures[0]

    async def sweep(self, now_s: float) -> int:
        due = await self.redis.zrangebyscore(redis_keys.BLOBS, "-inf", now_s, start=0, num=SWEPT_AT_A_TIME)
        gone, failures = await self._delete([name.decode() for name in due])
        if failures:
            raise failures[0]
        return gone

    async def close(self) -> None:
        return None

    def _read(self, name: str) -> bytes:
        return bytes(obstore.get(self.store, name).bytes())

    async def _delete(self, names: list[str]) -> tuple[int, list[StoreError]]:
        """Delete, and forget the end of, as many as can be; how many, and why not the others."""
        few = asyncio.Semaphore(DELETED_AT_ONCE)
        failures = await asyncio.gather(*(self._delete_one(name, few) for name in names))
        gone = [name for name, failure in zip(names, failures, strict=True) if failure is None]
        if gone:
            await self.redis.zrem(redis_keys.BLOBS, *gone)
        return len(gone), [failure for failure in failures if failure]

    async def _delete_one(self, name: str, few: asyncio.Semaphore) -> StoreError | None:
        async with few:
            try:
                await asyncio.to_thread(obstore.delete, self.store, name)
            except FileNotFoundError:
                pass
            except (BaseError, OSError, ValueError) as error:
                refusal = StoreError(f"cannot delete {name}: {_first_line(error)}")
                refusal.__cause__ = error
                return refusal
        return None
