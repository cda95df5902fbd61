"""The blob store in memory, a folder or an object store, through obstore.

A Redis set keeps the time at which each blob expires, which works for every backend and survives a restart; `sweep`
deletes expired blobs.  There is one such set, so a Redis serves one store: after a change of the store's URL, blobs in
the old store are never deleted.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import parse_qsl, unquote

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, from_url
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.blob_names import checked_name, job_of
from jobs.errors import BlobMissing, BlobUnwanted, StoreError, StoreFull
from jobs.lua_scripts import LuaScripts
from jobs.replication import NO_REPLICATION, Replication

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config  # obstore has them for type checkers only

T = TypeVar("T")
MAX_SWEPT_AT_ONCE = 500
PROBE_S = 600.0
"""After this, the sweep deletes the probe of a process that was killed."""
CONCURRENT_DELETES = 4
"""Each delete takes a thread of the loop's pool; the other threads serve requests that clients wait for."""
RETRY: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=8)}
"""obstore's default of three minutes is longer than any client waits."""
CALL_S = 40.0
"""No call of a store takes longer, whatever its client does."""
DISK_RESERVE_SHARE, DISK_RESERVE_MAX_BYTES = 0.05, 10**9
"""Uploads leave this much of a disk free, so that jobs that were accepted can store their results."""
NO_SPACE = ("No space left on device", "Disk quota exceeded")
PROBE = "probe/blob"
SIGNATURES = (
    (b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"RIFF", "image/webp"), (b"II", "image/tiff"),
    (b"MM", "image/tiff"),
)  # fmt: skip


def read_options(query: str) -> dict[str, str]:
    """Returns the options of a store's URL.  Raises ValueError where they are not words with values."""
    return dict(parse_qsl(query, strict_parsing=bool(query), keep_blank_values=True))


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
    _expect_options(options, ("region", "endpoint", "public_endpoint"))
    config: S3Config = {}
    if "region" in options:
        config["region"] = options["region"]
    if "endpoint" in options:
        config["endpoint"] = options["endpoint"]
    for name in {"endpoint", "public_endpoint"} & options.keys():
        if not options[name].startswith(("http://", "https://")):
            raise ValueError(f"{name}: expected a URL that begins with http:// or https://")
    return from_url(url, config=config, client_options=_client_options(options.get("endpoint")), retry_config=RETRY)


def open_signer(kind: str, url: str, options: dict[str, str]) -> Any | None:  # noqa: ANN401
    """Returns the store whose URLs clients can use: at `public_endpoint` where that is given.  None: it signs nothing.

    Only S3 signs.  obstore can sign for other clouds, too, but we have not tested it there.
    """
    if kind != "s3":
        return None
    endpoint = options.get("public_endpoint") or options.get("endpoint")
    return _s3(url, {**options, "endpoint": endpoint} if endpoint else options)


def media_type(data: bytes) -> str:
    """Returns the media type of a picture by its first bytes."""
    for sign, name in SIGNATURES:
        if data.startswith(sign):
            return name
    return "image/avif" if data[4:8] == b"ftyp" else "application/octet-stream"


def _client_options(endpoint: str | None) -> "ClientConfig":
    """Returns timeouts, and permission for plain http where the operator wrote an endpoint with http://."""
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    options: ClientConfig = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=30)}
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    return options


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


def first_line(error: BaseException) -> str:
    """Returns obstore's message without the Rust structures that follow it."""
    return str(error).strip().split("\n", 1)[0]


class ObjectStore:
    """Any store that obstore opens.

    Calls run in threads and not as obstore's coroutines.  Those answer from a Rust thread that touches Python once more
    after the answer; a process that ends at that moment aborts (17 of 30 with obstore 0.12.1, none with threads).
    """

    beside_queue = False

    def __init__(
        self, store: Any, redis: "Redis", kind: str, signer: Any = None, replication: Replication = NO_REPLICATION  # noqa: ANN401 - obstore's own union of stores
    ) -> None:  # fmt: skip
        """`signer` signs URLs: the same bucket at the endpoint that clients reach; None where nothing can be signed."""
        self.store, self.kind, self.signer, self.replication = store, kind, signer, replication
        self.redis: Any = redis

    @property
    def signs(self) -> bool:
        return self.signer is not None

    @cached_property
    def _scripts(self) -> LuaScripts:
        return LuaScripts(self.redis, self.replication)

    async def put(self, name: str, data: bytes, ttl_s: int, *, replicated: bool = True) -> None:
        # The expiry first, and on the replicas, too: the sweep ignores a blob that was never written, but never finds
        # a blob whose expiry a failover has lost
        job, expires_s = job_of(checked_name(name)), time.time() + ttl_s
        run = self._scripts.run_replicated if replicated else self._scripts.run
        if not await run("mark_blob", name=name, size=len(data), expires_s=expires_s, id=job):
            raise BlobUnwanted(f"{name} is not stored: its job has ended or is deleted")
        try:
            await self._call(obstore.put, self.store, name, data, **self._attributes(data))
        except (BaseError, OSError) as error:
            await self._forget([name], expires_s=time.time() + redis_keys.DOUBTFUL_MS / 1000)
            raise self._put_error(name, error) from error
        # Where this is canceled, or the process dies, the name stays in flight: the sweep deletes it twice
        if job and not await self._scripts.run("blob_written", name=name):  # its job was deleted meanwhile
            await self.delete(name)
            raise BlobUnwanted(f"{name} is not stored: its job has ended or is deleted")

    def _put_error(self, name: str, error: Exception) -> StoreError:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(t in str(error) for t in NO_SPACE):
            return StoreFull("the disk of the store is full")
        if isinstance(error, FileNotFoundError):
            return StoreError(f"cannot store {name}: the bucket or folder of the {self.kind} store does not exist")
        return StoreError(f"cannot store {name}: {first_line(error)}")

    async def get(self, name: str) -> bytes:
        try:
            return await self._call(self._read, checked_name(name))
        except FileNotFoundError as error:
            raise BlobMissing(f"there is no blob {name}, or it has expired") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot read {name}: {first_line(error)}") from error

    async def get_range(self, name: str, first: int, end: int) -> bytes:
        try:
            return await self._call(self._read_range, checked_name(name), first, end)
        except FileNotFoundError as error:
            raise BlobMissing(f"there is no blob {name}, or it has expired") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot read {name}: {first_line(error)}") from error

    async def size(self, name: str) -> int:
        try:
            return int((await self._call(obstore.head, self.store, checked_name(name)))["size"])
        except FileNotFoundError as error:
            raise BlobMissing(f"there is no blob {name}, or it has expired") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot read {name}: {first_line(error)}") from error

    async def presigned(self, method: Literal["GET", "PUT"], name: str, valid_s: int) -> str:
        if self.signer is None:
            raise StoreError(f"a {self.kind} store signs no URLs")
        try:
            return await self._call(obstore.sign, self.signer, method, checked_name(name), timedelta(seconds=valid_s))
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot sign a URL: {first_line(error)}") from error

    async def delete(self, *names: str) -> None:
        _, failures = await self._delete([checked_name(name) for name in names])
        if failures:
            raise failures[0]

    async def names_of_job(self, job: str) -> list[str]:
        return [name.decode() for name in await self.redis.hkeys(redis_keys.BLOBS_OF_JOB + job)]

    async def check_room(self, size: int) -> None:
        if isinstance(self.store, LocalStore):
            await check_disk(Path(unquote(str(self.store.prefix))), size)

    async def disk_room(self) -> tuple[int, int] | None:
        if not isinstance(self.store, LocalStore):
            return None
        return await disk_room(Path(unquote(str(self.store.prefix))))

    async def probe(self) -> None:
        name = f"{PROBE}-{os.getpid()}"
        await self._scripts.run("mark_blob", name=name, size=0, expires_s=time.time() + PROBE_S)
        try:
            await self._call(obstore.put, self.store, name, b"probe")
            await self._call(self._read, name)
            await self._call(obstore.delete, self.store, name)
        except (BaseError, OSError) as error:
            raise self._put_error("a blob", error) from error
        await self._forget([name])

    async def sweep(self, now_s: float) -> int:
        due = await self.redis.zrangebyscore(redis_keys.BLOBS, "-inf", now_s, start=0, num=MAX_SWEPT_AT_ONCE)
        if due:  # a failover could take back the end of a job whose input is due with it
            await self.replication.confirm(self.redis)
        deleted, failures = await self._delete([name.decode() for name in due])
        if failures:
            raise failures[0]
        return deleted

    async def close(self) -> None:
        return None

    async def _call(self, function: Callable[..., T], *arguments: object, **named: object) -> T:
        try:
            async with asyncio.timeout(CALL_S):
                return await asyncio.to_thread(function, *arguments, **named)
        except TimeoutError as error:
            raise StoreError(f"the {self.kind} store has not answered for {CALL_S:g} s") from error

    def _read(self, name: str) -> bytes:
        return bytes(obstore.get(self.store, name).bytes())

    def _read_range(self, name: str, first: int, end: int) -> bytes:
        return bytes(obstore.get_range(self.store, name, start=first, end=end))

    def _attributes(self, data: bytes) -> dict[str, object]:
        """Returns what S3 notes with a blob: a browser shows what a presigned URL leads to by its type."""
        return {"attributes": {"Content-Type": media_type(data)}} if self.kind == "s3" else {}

    async def _forget(self, names: list[str], expires_s: float | None = None) -> None:
        ids = [job_of(name) or "" for name in names]
        await self._scripts.run("drop_blobs", names=names, ids=ids, expires_s=expires_s)

    async def _delete(self, names: list[str]) -> tuple[int, list[StoreError]]:
        """Delete blobs and their expiry.  Returns how many were deleted, and the errors of the others."""
        limit = asyncio.Semaphore(CONCURRENT_DELETES)
        failures = await asyncio.gather(*(self._delete_one(name, limit) for name in names))
        gone = [name for name, failure in zip(names, failures, strict=True) if failure is None]
        if gone:
            await self._forget(gone)
        return len(gone), [failure for failure in failures if failure]

    async def _delete_one(self, name: str, limit: asyncio.Semaphore) -> StoreError | None:
        async with limit:
            try:
                await self._call(self._delete_now, name)
            except FileNotFoundError:
                pass
            except (BaseError, OSError, ValueError, StoreError) as error:
                failure = StoreError(f"cannot delete {name}: {first_line(error)}")
                failure.__cause__ = error
                return failure
        return None

    def _delete_now(self, name: str) -> None:
        try:
            obstore.delete(self.store, name)
        finally:
            if isinstance(self.store, LocalStore):
                remove_unfinished(Path(unquote(str(self.store.prefix))), name)


def remove_unfinished(folder: Path, name: str) -> None:
    """Delete what processes that were killed have left of a blob: obstore writes NAME#1, NAME#2 ... and renames that.

    A process that is still writing the blob meets FileNotFoundError: the blob is unwanted.
    """
    parent, left = (folder / name).parent, False
    for file in parent.glob(f"{Path(name).name}#*"):  # names of blobs have no '#'
        file.unlink(missing_ok=True)
        left = True
    while left and parent != folder:
        try:
            parent.rmdir()
        except OSError:  # another blob is there
            return
        parent = parent.parent


async def check_disk(folder: Path, size: int, kept: int = 0) -> None:
    """Check that a file of `size` bytes leaves the reserve of the folder's disk free.

    Args:
        kept: further bytes that must stay free.

    Raises:
        StoreFull: it does not.
    """
    try:
        free, _, reserve = await _free_size_reserve(folder)
    except OSError:
        return  # the write itself says what is wrong
    reserve += kept
    if free - size < reserve:
        raise StoreFull(f"the disk is full: {free // 10**6} MB are free, and {reserve / 10**6:.0f} MB stay in reserve")


async def disk_room(folder: Path) -> tuple[int, int]:
    """Returns how many bytes `check_disk` allows on the folder's disk, now and when the disk is empty.

    A disk that cannot be asked has no room.
    """
    try:
        free, size, reserve = await _free_size_reserve(folder)
    except OSError:
        return 0, 1
    return max(0, int(free - reserve)), max(1, int(size - reserve))


async def _free_size_reserve(folder: Path) -> tuple[int, int, float]:
    """Returns bytes; the size is df's, which leaves out the blocks that only root may fill."""
    disk = await asyncio.to_thread(os.statvfs, folder)
    size = (disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize
    reserve = min(DISK_RESERVE_SHARE * disk.f_blocks * disk.f_frsize, DISK_RESERVE_MAX_BYTES)
    return disk.f_bavail * disk.f_frsize, size, reserve
