"""Counts in Redis what the quotas of a caller limit, exactly for all API processes together.

The subject of quotas is the id of an API key, or `redis_keys.ANYBODY` for all callers without a key together.  Jobs in
line and megapixels are counted by the script that submits a job.

Each method raises redis.exceptions.RedisError when Redis is away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import QuotaExceeded
from jobs.lua_scripts import LuaScripts
from jobs.quotas import PIXELS_PER_MEGAPIXEL, Quotas


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How much of its quotas a caller has used when a request arrives.

    Attributes:
        counted: whether the bucket of requests had one left for this request.
        requests_left: after this request.
        retry_s: until the bucket has one; 0 if it has.
        full_s: until the bucket is full.
        jobs: in line.
        pixels: submitted today.
        waits: open.
        day_left_s: until the megapixels start from 0.
    """

    counted: bool
    requests_left: int
    retry_s: float
    full_s: float
    jobs: int
    pixels: int
    waits: int
    day_left_s: int


class QuotaCounters:
    """The counters of all callers."""

    def __init__(self, redis: "Redis", scripts: LuaScripts) -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self._scripts = scripts

    async def count_request(self, subject: str, quotas: Quotas, now_us: int | None = None) -> Usage:
        """Count a request, and return what is used now: in one round trip.

        Args:
            now_us: the time in microseconds, for tests; by default it is Redis' own.
        """
        bucket = quotas.requests
        counted, left, retry_us, full_us, jobs, pixels, waits, day_left_s = await self._scripts.run(
            "count_request", subject=subject, now_us=now_us, waits=quotas.waits,
            bucket={"burst": bucket.burst, "interval_us": bucket.interval_us} if bucket else None,
            **(submission_quotas(quotas) or {}),
        )  # fmt: skip
        return Usage(
            counted=bool(counted), requests_left=left, retry_s=retry_us / 1e6, full_s=full_us / 1e6, jobs=jobs,
            pixels=pixels, waits=waits, day_left_s=day_left_s,
        )  # fmt: skip

    async def hold_wait(self, subject: str, wait: str, quota: int) -> bool:
        """Take one of a caller's waits for WAIT_LEASE_MS.  Returns False where all of them are open."""
        taken, _ = await self._scripts.run("hold_wait", subject=subject, wait=wait, quota=quota)
        return bool(taken)

    async def renew_waits(self, waits: Sequence[tuple[str, str]]) -> None:
        """Renew the leases of waits: (subject, wait)."""
        if waits:
            rows = [{"subject": subject, "wait": wait} for subject, wait in waits]
            await self._scripts.run("renew_waits", waits=rows)

    async def release_wait(self, subject: str, wait: str) -> None:
        """Give a wait back."""
        await self.redis.zrem(redis_keys.QUOTA_WAITS + subject, wait)


def submission_quotas(quotas: Quotas) -> dict[str, int] | None:
    """Returns `quotas` of scripts/quotas.lua; None where a submission has none."""
    found = {}
    if quotas.jobs is not None:
        found["jobs"] = quotas.jobs
    if quotas.megapixels is not None:
        found["pixels"] = quotas.megapixels * PIXELS_PER_MEGAPIXEL
    return found or None


def quota_exceeded(over: Sequence[Any]) -> QuotaExceeded:
    """Returns the error for an answer of `over_quota` in scripts/quotas.lua."""
    quota, used, limit, whole_in_s = over[0].decode(), int(over[1]), int(over[2]), int(over[3])
    if quota == "megapixels":
        return QuotaExceeded(quota, used / PIXELS_PER_MEGAPIXEL, limit / PIXELS_PER_MEGAPIXEL, whole_in_s)
    return QuotaExceeded(quota, used, limit, None)
