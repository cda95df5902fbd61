"""Keeps web pages of strangers away from a service that asks for no key.

A page can send requests to 127.0.0.1, and after it has changed the address of its own name (DNS rebinding) it can read
the answers, too.  Two headers that a page cannot forge tell: `Host` has the page's name, and `Origin` its origin.
Origins of the setting `allowed_origins` get CORS headers.
"""

import ipaddress
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import refused
from service.refusals import Refusal
from service.request_refusals import CrossOrigin, MalformedRequest, UnknownHost
from service.settings import ServiceSettings

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
READING = ("GET", "HEAD", "OPTIONS")
ALLOWED_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
ALLOWED_HEADERS = (
    "Accept, Authorization, Content-Type, Idempotency-Key, If-None-Match, If-Range, Last-Event-ID, Prefer, Range, "
    "X-API-Key, X-Request-Id, traceparent, tracestate"
)  # fmt: skip
EXPOSED_HEADERS = (
    "Accept-Ranges, Allow, Content-Disposition, Content-Location, Content-Range, ETag, Idempotency-Replayed, Location, "
    "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Change, X-Degradations, "
    "X-Job-Id, X-Request-Id, X-Seed, X-Warnings, traceparent"
)
PREFLIGHT_MAX_AGE_S = 600


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without port and brackets, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return _canonical(host[1:].partition("]")[0])
    name, colon, port = host.rpartition(":")
    return _canonical(name if colon and ":" not in name and port.isdigit() else host).rstrip(".")


def _canonical(name: str) -> str:
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        return name


class OriginGuard:
    """Middleware.  `needs_no_key` returns whether the service answers callers without a key now."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, needs_no_key: Callable[[], Awaitable[bool]]) -> None:
        self.app, self.needs_no_key = app, needs_no_key
        self.origins = {origin.rstrip("/").lower() for origin in settings.allowed_origins}
        own = host_name(settings.host)
        self.local = own in LOCAL_HOSTS or own.startswith("127.")
        self.named = bool(settings.allowed_hosts)
        self.hosts = {*LOCAL_HOSTS, own, *map(host_name, settings.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if refusal := await self._refusal(scope, headers):
            await refused(scope, refusal)(scope, receive, send)
            return
        origin = headers.get("origin", "").lower()
        if not self._allowed(origin):
            await self.app(scope, receive, send)
            return
        shown = "*" if "*" in self.origins else headers["origin"]
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(shown)(scope, receive, send)
            return
        await self.app(scope, receive, _with_cors(send, shown))

    async def _refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        hosts = headers.getlist("host")
        if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
            return MalformedRequest(f"got {len(hosts)} Host headers, expected one")
        host = hosts[0] if hosts else ""
        if host and host_name(host) not in self.hosts and await self._must_know_host():
            return UnknownHost(f"got Host: {host[:100]}")
        if not self._same_origin(scope["method"], headers, host):
            return CrossOrigin(f"a page of {headers.get('origin') or 'another site'} may not send this request"[:200])
        return None

    async def _must_know_host(self) -> bool:
        if self.named or not self.local:
            return self.named
        try:
            return await self.needs_no_key()
        except RedisError:  # the safe answer; the route says that Redis is away
            return True

    def _same_origin(self, method: str, headers: Headers, host: str) -> bool:
        origin = headers.get("origin", "").lower()
        if self._allowed(origin):
            return True
        if method in READING and not (method == "OPTIONS" and "access-control-request-method" in headers):
            return True
        if origin:
            return origin.partition("://")[2] == host.lower()
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")

    def _allowed(self, origin: str) -> bool:
        return bool(origin) and ("*" in self.origins or origin in self.origins)


def _preflight(origin: str) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
            "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        },
    )


def _with_cors(send: Send, origin: str) -> Send:
    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            headers.add_vary_header("Origin")
        await send(message)

    return send_with_cors
