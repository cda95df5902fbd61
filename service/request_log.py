"""Around every request: an id, a line in the log, a count, and an answer where nobody thought of the error."""

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
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
ID_KEY = "undegrade.request_id"
CLIENT_LEFT = 499
"""nginx's status of a request whose client hung up; for the log, nobody hears it."""

Count = Callable[[str, int, float], None]
"""Told the route's template, the status and the seconds of each request."""


def request_id(scope: Scope) -> str:
    """The id of this request."""
    return str(scope.get(ID_KEY, ""))


def route_of(scope: Scope) -> str:
    """Method and template, never an id: labels must stay few."""
    route = scope.get("route")
    return f"{scope['method']} {route.path}" if route is not None else "unmatched"


class Access:
    """Pure ASGI: responses are streamed through, and contextvars reach the routes.

    `crash` is the ASGI answer to an error that nobody thought of.
    """

    def __init__(self, app: ASGIApp, count: Count, crash: Callable[[str], ASGIApp]) -> None:
        self.app, self.count, self.crash = app, count, crash

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        scope[ID_KEY] = given if SANE_ID.fullmatch(given) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=scope[ID_KEY])
        await self._watched(_Exchange(scope, receive, send))

    async def _watched(self, exchange: "_Exchange") -> None:
        start_s = time.monotonic()
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_LEFT
        except Exception:
            log.exception("request.crashed", route=route_of(exchange.scope))
            if exchange.status:  # too late to answer: let the server cut the connection, so that nobody trusts the rest
                raise
            await self.crash(request_id(exchange.scope))(exchange.scope, exchange.receive, exchange.send)
        finally:
            self._noted(exchange, time.monotonic() - start_s)

    def _noted(self, exchange: "_Exchange", seconds: float) -> None:
        route = route_of(exchange.scope)
        self.count(route, exchange.status, seconds)
        # uvloop sends what was written when this turn ends: the line is not to keep the answer back
        asyncio.get_running_loop().call_soon(
            partial(
                log.info, "request.ended", route=route, path=exchange.scope["path"], status=exchange.status,
                seconds=round(seconds, 4),
            )
        )  # fmt: skip


class _Exchange:
    """One request and its answer, with the headers that every answer has."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.status = scope, 0
        self._receive, self._send = receive, send
        headers = Headers(scope=scope)
        self._body_left = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._body_left = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = request_id(self.scope)
            headers["X-Content-Type-Options"] = "nosniff"
            if self._body_left:  # refused half way: hang up rather than read what nobody wants
                headers["Connection"] = "close"
        await self._send(message)
