"""The errors of this package.

JobsError
├── SpecError       a job spec is not valid
│   └── NewerSpec       a later version of undegrade has written it
├── QueueFull       the bundle has too many queued jobs
├── QuotaExceeded   a quota of the caller is used up
├── DuplicateJob    there is a job with this id
├── ClaimTaken      an earlier request has used the Idempotency-Key
├── BatchWithdrawn  the request of a batch has broken off, and its jobs are removed
├── RefusedJob      an RQ job did not come through the API
├── WorkerDrained   an operator drains the worker that asks for jobs
├── UnknownName     there is no worker, host or lane of this name
├── UnknownShard    an id names a shard that this service does not have
├── RedisUrlError   the URL of Redis is not valid
├── TracingError    the OTEL_* variables ask for what cannot be done
└── StoreError      the blob store failed
    ├── BlobMissing     there is no such blob, or it has expired
    ├── BlobUnwanted    the blob's job has ended or is deleted
    └── StoreFull       there is no room: memory, disk, or a limit on stored bytes

NotReplicated, a RedisError: too few replicas have a write, so that a failover could lose it
ShardAway, a RedisError: one of several servers does not answer, and only it has what is asked for
"""

from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import OutOfMemoryError, RedisError


class JobsError(Exception):
    """The root of this tree."""


class SpecError(JobsError):
    """A job spec is not valid."""


class NewerSpec(SpecError):
    """A later version of undegrade has written the job spec; the message names the version or the field."""


class WorkerDrained(JobsError):
    """An operator drains the worker that asks for jobs."""


class UnknownName(JobsError):
    """There is no worker, host or lane of this name; the message has the nearest one."""


class QueueFull(JobsError):
    """The bundle has too many queued jobs; `queued` says how many."""

    def __init__(self, message: str, queued: int) -> None:
        super().__init__(message)
        self.queued = queued


class QuotaExceeded(JobsError):
    """A quota of the caller is used up.

    Attributes:
        quota: jobs or megapixels.
        used: how much of it, in its own unit.
        limit: the quota.
        whole_in_s: seconds until all of it is free again; None where that depends on the jobs.
    """

    def __init__(self, quota: str, used: float, limit: float, whole_in_s: int | None) -> None:
        super().__init__(f"{used:g} of {limit:g} {quota} are used")
        self.quota, self.used, self.limit, self.whole_in_s = quota, used, limit, whole_in_s


class NotReplicated(RedisError):
    """Redis has done what it was told, but too few replicas have it yet, so that a failover could lose it."""


class DuplicateJob(JobsError):
    """There is a job with this id."""


class ClaimTaken(JobsError):
    """An earlier request has used the client's key.  `made` is the id of what it made; None: it was another request."""

    def __init__(self, made: str | None) -> None:
        super().__init__(f"an earlier request has made {made}" if made else "another request has used the key")
        self.made = made


class BatchWithdrawn(JobsError):
    """The batch cannot be made: its request counted as broken off, and its jobs are removed."""


class RefusedJob(JobsError):
    """An RQ job did not come through the API; `reason` is oversized, not-json, function-not-listed or callback."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnknownShard(JobsError):
    """An id names a shard that this service does not have."""


class ShardAway(RedisAway):
    """One of several servers does not answer, and only it has what is asked for; the message names the shard."""


class RedisUrlError(JobsError):
    """The URL of Redis is not valid.  The message never contains its password."""


class TracingError(JobsError):
    """The OTEL_* variables ask for what cannot be done.  The message never contains the endpoint or its headers."""


class StoreError(JobsError):
    """The blob store failed."""


class BlobMissing(StoreError):
    """There is no such blob, or it has expired."""


class BlobUnwanted(StoreError):
    """The blob's job has ended or is deleted, so the blob was not stored."""


class StoreFull(StoreError):
    """There is no room: the message names memory, disk, or the limit on stored bytes."""


def full_redis(error: RedisError) -> StoreFull | None:
    """Returns the error as StoreFull where Redis refused a write for want of memory or disk, else None."""
    if isinstance(error, OutOfMemoryError):
        return StoreFull("the memory of Redis is full (maxmemory)")
    if str(error).startswith("MISCONF"):
        return StoreFull("the disk of Redis is full or cannot be written")
    return None
