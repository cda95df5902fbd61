"""The blob store, which holds the pictures: memory, a folder or an object store (through obstore), or Redis.

Names are paths of letters, digits and `_.-`.  A job's blobs are named ID/..., and the store counts their bytes in Redis
by job and by API key.  Every blob has a time to live.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from obstore.exceptions import BaseError
from redis.asyncio import Redis

from jobs.errors import StoreError
from jobs.object_store import OPENERS, ObjectStore, first_line, open_signer, read_options
from jobs.redis_store import RedisStore
from jobs.redis_url import SCHEMES
from jobs.replication import NO_REPLICATION, Replication

__all__ = ["CARRIED_BYTES", "Blob", "BlobStore", "RedisStore", "check_store_url", "open_store"]
ALLOWED = "memory://, file:///FOLDER, s3://BUCKET/PREFIX?region=R&endpoint=URL, gs://, az:// or redis://"
IN_REDIS = tuple(SCHEMES)
CARRIED_BYTES = 1 << 20
"""The largest blob that a script of the queue takes along: Redis serves no other client while the script runs."""


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

    @property
    def kind(self) -> str:
        """The kind of store for messages: 'redis', 'file', 's3', ..."""
        ...

    async def put(self, name: str, data: bytes, ttl_s: int, *, replicated: bool = True) -> None:
        """Store a blob.

        Raises:
            StoreFull: there is no room.
            BlobUnwanted: its job has ended or is deleted.
            NotReplicated: a failover could lose the blob, or leave it in an object store for ever, so it is not stored
                there; never where `replicated` is false.
        """
        ...

    async def get(self, name: str) -> bytes:
        """Raises BlobMissing."""
        ...

    async def delete(self, *names: str) -> None:
        """Delete blobs.  Missing blobs are ignored, and a failure does not stop the others."""
        ...

    async def names_of_job(self, job: str) -> list[str]:
        """Returns the names of all blobs that are stored of a job, also those that no record names."""
        ...

    async def check_room(self, size: int) -> None:
        """Raises StoreFull where a new input of `size` bytes would leave too little room on the store's disk."""
        ...

    async def disk_room(self) -> tuple[int, int] | None:
        """Returns how many bytes of new inputs the store's disk takes, now and when empty; None without a disk."""
        ...

    async def probe(self) -> None:
        """Write, read and delete a tiny blob.  Raises StoreError where that fails."""
        ...

    async def sweep(self, now_s: float) -> int:
        """Delete expired blobs.  Returns how many.

        Raises:
            NotReplicated: a failover could take back what has ended their time, so nothing has been deleted.
        """
        ...

    async def close(self) -> None: ...


class ServedStore(BlobStore, Protocol):
    """A store whose blobs the service sends to clients."""

    async def get_range(self, name: str, first: int, end: int) -> bytes:
        """Returns the bytes of a blob from `first` up to `end`, which is not included and not beyond its size.

        Raises:
            BlobMissing: there is no such blob, or it has expired.
        """
        ...

    async def size(self, name: str) -> int:
        """Returns the bytes of a blob without reading it.

        Raises:
            BlobMissing: there is no such blob, or it has expired.
        """
        ...

    @property
    def signs(self) -> bool:
        """Whether `presigned` works: in S3 only, for other stores cannot be reached from outside."""
        ...

    async def presigned(self, method: Literal["GET", "PUT"], name: str, valid_s: int) -> str:
        """Returns a URL with which anybody can read or write the blob for a while.

        Raises:
            StoreError: there are no credentials to sign with.
        """
        ...


def open_store(url: str, redis: "Redis", replication: Replication = NO_REPLICATION) -> ServedStore:
    """Returns the store at a URL.  obstore reads the credentials from the environment.

    Args:
        replication: the replicas of Redis that must know of a blob before it is stored.

    Raises:
        StoreError: unknown kind of store, or it cannot be opened.  The message never repeats the URL, which may hold a
            password.
    """
    opened = _open(url)
    if opened is None:
        return RedisStore(redis, replication)
    kind, _, rest = url.partition("://")
    location, _, query = rest.partition("?")
    signer = open_signer(kind, f"{kind}://{location}", read_options(query))
    return ObjectStore(opened, redis, kind, signer, replication)


def check_store_url(url: str) -> None:
    """Raises StoreError as `open_store` does."""
    _open(url)


def _open(url: str) -> Any | None:  # noqa: ANN401 - obstore's own union of stores
    """Returns obstore's store, None for Redis."""
    kind, separator, rest = url.partition("://")
    if separator and kind in IN_REDIS:
        return None
    if not separator or kind not in OPENERS:
        got = f"a store of kind {kind!r}" if separator else "a store without a kind"
        raise StoreError(f"got {got}, expected {ALLOWED}")
    location, _, query = rest.partition("?")
    try:
        return OPENERS[kind](f"{kind}://{location}", read_options(query))
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(f"cannot open the {kind} store: {first_line(error)}; expected {ALLOWED}") from error
