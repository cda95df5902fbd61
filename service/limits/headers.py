"""The headers RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers, structured fields of RFC 9651).

`RateLimit-Policy` lists the quotas of the caller: `q` is the quota, `w` the seconds after which a used-up one is whole
again, `qu` the unit where it is not requests.  `RateLimit` says how much is left (`r`), and the seconds until all of it
is (`t`).
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.quotas import DAY_S, PIXELS_PER_MEGAPIXEL
from service.limits.request_limits import Account

_ACCOUNT = "undegrade.account"


class RateLimitHeaders:
    """Middleware: adds the headers to every answer to a request that was counted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        noted: list[Account] = []

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start" and noted:
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"], headers["RateLimit"] = policy_header(noted[-1]), usage_header(noted[-1])
            await send(message)

        scope[_ACCOUNT] = noted
        await self.app(scope, receive, send_with_limits)


def note_account(scope: Scope, account: Account) -> None:
    """Note the account of the caller of a request, for the headers of its answer."""
    scope.get(_ACCOUNT, []).append(account)


def policy_header(account: Account) -> str:
    """Return the value of RateLimit-Policy."""
    quotas, policies = account.quotas, []
    if quotas.requests is not None:
        policies.append(f'"requests";q={quotas.requests.burst};w={quotas.requests.window_s}')
    if quotas.jobs is not None:
        policies.append(f'"jobs";q={quotas.jobs};qu="jobs"')
    if quotas.megapixels is not None:
        policies.append(f'"megapixels";q={quotas.megapixels};w={DAY_S};qu="megapixels"')
    if quotas.waits is not None:
        policies.append(f'"waits";q={quotas.waits};qu="concurrent-requests"')
    return ", ".join(policies)


def usage_header(account: Account) -> str:
    """Return the value of RateLimit: as the request arrived, with the job that it has queued."""
    quotas, usage, parts = account.quotas, account.usage, []
    submitted = account.submitted_pixels
    if quotas.requests is not None:
        parts.append(f'"requests";r={usage.requests_left};t={_whole_seconds(usage.full_s)}')
    if quotas.jobs is not None:
        parts.append(f'"jobs";r={max(0, quotas.jobs - usage.jobs - (submitted is not None))}')
    if quotas.megapixels is not None:
        left = quotas.megapixels * PIXELS_PER_MEGAPIXEL - usage.pixels - (submitted or 0)
        parts.append(f'"megapixels";r={max(0, left) // PIXELS_PER_MEGAPIXEL};t={usage.day_left_s}')
    if quotas.waits is not None:
        parts.append(f'"waits";r={max(0, quotas.waits - usage.waits)}')
    return ", ".join(parts)


def _whole_seconds(seconds: float) -> int:
    return -int(-seconds // 1)
