"""What `GET /limits` says of its caller: scopes and weight of the API key, and how much of each quota is left."""

from datetime import UTC, datetime
from typing import Literal, get_args

from pydantic import BaseModel

from jobs.api_keys import SCOPES, Scope
from jobs.quotas import DAY_S, PIXELS_PER_MEGAPIXEL
from service.authentication import Caller
from service.limits.request_limits import Account


class QuotaBody(BaseModel):
    """A quota of the caller.

    `remaining` is what is left of `limit`.  `reset_s` is the time in seconds until all of it is left again; null where
    that depends on the end of jobs or waits.  `window_s` is the time for which the limit counts.
    """

    limit: int
    remaining: float
    window_s: int | None = None
    reset_s: int | None = None


QuotaName = Literal["requests", "jobs", "megapixels", "waits"]
"""Requests that may come at once, jobs in line, megapixels of a day (UTC), and open long polls and streams."""


class CallerLimits(BaseModel):
    """The caller of the request.  `key_id`, `scopes`, `weight` and `expires_at` are null where no key was needed.

    `quotas` has each quota by the name that it has in `undegrade keys create --quota`; null is unlimited.
    """

    key_id: str | None
    scopes: list[Scope] | None
    weight: int | None
    expires_at: datetime | None
    quotas: dict[QuotaName, QuotaBody | None]


def caller_limits(caller: Caller) -> CallerLimits:
    """Return what a caller may do, as its request arrived: the request itself is counted."""
    expires_at = None if caller.expires_ms is None else datetime.fromtimestamp(caller.expires_ms / 1000, UTC)
    return CallerLimits(
        key_id=caller.owner,
        scopes=None if caller.scopes is None else [scope for scope in SCOPES if scope in caller.scopes],
        weight=caller.weight,
        expires_at=expires_at,
        quotas={**dict.fromkeys(get_args(QuotaName)), **(_quotas(caller.account) if caller.account else {})},
    )


def _quotas(account: Account) -> dict[QuotaName, QuotaBody]:
    quotas, usage = account.quotas, account.usage
    found: dict[QuotaName, QuotaBody] = {}
    if quotas.requests is not None:
        found["requests"] = QuotaBody(
            limit=quotas.requests.burst, remaining=usage.requests_left, window_s=quotas.requests.window_s,
            reset_s=-int(-usage.full_s // 1),
        )  # fmt: skip
    if quotas.jobs is not None:
        found["jobs"] = QuotaBody(limit=quotas.jobs, remaining=max(0, quotas.jobs - usage.jobs))
    if quotas.megapixels is not None:
        left = max(0, quotas.megapixels * PIXELS_PER_MEGAPIXEL - usage.pixels) / PIXELS_PER_MEGAPIXEL
        found["megapixels"] = QuotaBody(
            limit=quotas.megapixels, remaining=left, window_s=DAY_S, reset_s=usage.day_left_s
        )
    if quotas.waits is not None:
        found["waits"] = QuotaBody(limit=quotas.waits, remaining=max(0, quotas.waits - usage.waits))
    return found
