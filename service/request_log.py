"""Middleware around every request: assigns an id, logs and counts the request, and answers unexpected errors."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from functools import partial

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()
VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
REQUEST_ID = "undegrade.request_id"
CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected; it appears in log and metrics only."""

CountRequest = Callable[[str, int, float], None]
"""Called with the route's template, the status and the seconds of each request."""


def request_id(scope: Scope) -> str:
    """Return the id of this request."""
    return str(scope.get(REQUEST_ID, ""))


def route_of(scope: Scope) -> str:
    """Return method and path template; never a path with ids, since metric labels must stay few."""
    route = scope.get("route")
    return f"{scope['method']} {route.path}" if route is not None else "unmatched"


class RequestLog:
    """Pure ASGI, so that responses are streamed and contextvars reach the routes.

    `internal_error` builds the response to an unexpected error from the request id.
    """

    def __init__(self, app: ASGIApp, count: CountRequest, internal_error: Callable[[str], ASGIApp]) -> None:
        self.app, self.count, self.internal_error = app, count, internal_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        scope[REQUEST_ID] = given if VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=scope[REQUEST_ID])
        await self._handle(_Exchange(scope, receive, send))

    async def _handle(self, exchange: "_Exchange") -> None:
        start_s = time.monotonic()
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_CLOSED_REQUEST
        except Exception:
            log.exception("request.crashed", route=route_of(exchange.scope))
            if exchange.status:  # the response has begun: let the server cut the connection, so the client notices
                raise
            response = self.internal_error(request_id(exchange.scope))
            await response(exchange.scope, exchange.receive, exchange.send)
        finally:
            self._record(exchange, time.monotonic() - start_s)

    def _record(self, exchange: "_Exchange", seconds: float) -> None:
        route = route_of(exchange.scope)
        self.count(route, exchange.status, seconds)
        # uvloop sends the response at the end of this loop iteration; logging must not delay it
        asyncio.get_running_loop().call_soon(
            partial(
                log.info, "request.ended", route=route, path=exchange.scope["path"], status=exchange.status,
                seconds=round(seconds, 4),
            )
        )  # fmt: skip


class _Exchange:
    """One request and its response, with the headers that every response has."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.status = scope, 0
        self._receive, self._send = receive, send
        headers = Headers(scope=scope)
        self._body_unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._body_unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = request_id(self.scope)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Cache-Control"] = "private, no-store"  # jobs, pictures and events belong to one caller
            if self._body_unread:  # refused before the body was read: close the connection, do not read the rest
                headers["Connection"] = "close"
        await self._send(message)
