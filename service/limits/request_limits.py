"""Applies the quotas of a caller: counts its requests, and refuses what is over a quota.

One script call counts a request and reads all counters.  A caller without quotas costs no call.  Where the counters
cannot be read, the request fails with RedisError, and is not let through.
"""

import math
from dataclasses import dataclass

from jobs.errors import QuotaExceeded
from jobs.quota_counters import QuotaCounters, Usage
from jobs.quotas import PIXELS_PER_MEGAPIXEL, Quotas
from jobs.redis_keys import ANYBODY
from service.limits.refusals import RateLimited, TooManyJobs, TooManyMegapixels, TooManyWaits
from service.problems import retry_after

WAITS_RETRY_S = 5
"""Retry-After of a wait over the quota: most waits are shorter than a minute."""


@dataclass(kw_only=True)
class Account:
    """A caller's quotas, and how much of them was used when its request arrived.  `subject` names it in the counters.

    `submitted_pixels` are those of the job that the request has queued: None before that.
    """

    subject: str
    quotas: Quotas
    usage: Usage
    submitted_pixels: int | None = None


class RequestLimits:
    """Counts requests."""

    def __init__(self, counters: QuotaCounters) -> None:
        self.counters = counters

    async def count(self, owner: str | None, quotas: Quotas) -> Account | None:
        """Count a request of this caller, also one over the quota; return its account, None without quotas."""
        if not quotas:
            return None
        subject = ANYBODY if owner is None else owner
        return Account(subject=subject, quotas=quotas, usage=await self.counters.count_request(subject, quotas))


def check_rate(account: Account) -> None:
    """Raise RateLimited where the bucket of requests was empty."""
    bucket, usage = account.quotas.requests, account.usage
    if bucket is not None and not usage.counted:
        detail = (
            f"too many requests: the quota is {bucket.burst} at once, and one more every {bucket.interval_us / 1e6:g} s"
        )
        raise RateLimited(detail, headers=_exact_retry_after(usage.retry_s))


def check_submission(account: Account | None, waits: bool) -> None:
    """Refuse a submission whose quota was used up when its request arrived, before its body is read.

    The script that submits the job checks again, exactly.

    Raises:
        TooManyJobs, TooManyMegapixels: this quota is used up.
        TooManyWaits: the request wants to wait.
    """
    if account is None:
        return
    quotas, usage = account.quotas, account.usage
    if quotas.jobs is not None and usage.jobs >= quotas.jobs:
        raise quota_refusal(QuotaExceeded("jobs", usage.jobs, quotas.jobs, None))
    if quotas.megapixels is not None and usage.pixels >= quotas.megapixels * PIXELS_PER_MEGAPIXEL:
        used = usage.pixels / PIXELS_PER_MEGAPIXEL
        raise quota_refusal(QuotaExceeded("megapixels", used, quotas.megapixels, usage.day_left_s))
    if waits and quotas.waits is not None and usage.waits >= quotas.waits:
        raise waits_refusal(quotas.waits)


def quota_refusal(
    error: QuotaExceeded, pixels: int = 0, seconds_per_job: float | None = None
) -> TooManyJobs | TooManyMegapixels:
    """Return the refusal of a submission over a quota.

    Args:
        pixels: of the image.
        seconds_per_job: as measured lately; None while it is unknown.
    """
    if error.quota == "jobs":
        detail = f"this caller has {error.used:,g} jobs in line, the quota is {error.limit:,g}"
        return TooManyJobs(detail, headers=retry_after(10 if seconds_per_job is None else seconds_per_job))
    if pixels > error.limit * PIXELS_PER_MEGAPIXEL:
        return TooManyMegapixels(
            f"the image has {pixels / PIXELS_PER_MEGAPIXEL:.1f} megapixels, the quota of a day is {error.limit:,g}",
            hint="scale the image down, or ask the operator for a larger quota; a retry cannot succeed",
        )
    detail = f"this caller has submitted {error.used:,.1f} megapixels today, the quota is {error.limit:,g}"
    return TooManyMegapixels(detail, headers=_exact_retry_after(error.whole_in_s or 1))


def waits_refusal(quota: int) -> TooManyWaits:
    """Return the refusal of a wait over the quota."""
    return TooManyWaits(
        f"this caller has {quota} open waits and event streams, its quota", headers=retry_after(WAITS_RETRY_S)
    )


def _exact_retry_after(seconds: float) -> dict[str, str]:
    """Return Retry-After of a quota: its end is known, and may be hours away."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
