"""Middleware around every request: assigns an id, logs, traces and counts it, and answers unexpected errors."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.tracing.spans import NO_TRACER, Span, Tracer, running
from service.request_facts import begin_request
from service.request_spans import end_span, is_health_check, start_span
from service.settings import AccessLog

log = structlog.get_logger()
VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
REQUEST_ID = "undegrade.request_id"
FURTHER_HEADERS = "undegrade.headers"
CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected; it appears in log and metrics only."""

CountRequest = Callable[[str, int, float], None]
"""Called with the route's template, the status and the seconds of each request."""


def request_id(scope: Scope) -> str:
    """Return the id of this request."""
    return str(scope.get(REQUEST_ID, ""))


def add_header(scope: Scope, name: str, value: str) -> None:
    """Add a header to the response of this request, whatever that will be: also to a problem."""
    scope.setdefault(FURTHER_HEADERS, {})[name] = value


def route_of(scope: Scope) -> str:
    """Return method and path template; never a path with ids, since metric labels must stay few."""
    route = scope.get("route")
    return f"{scope['method']} {route.path}" if route is not None else "unmatched"


class RequestLog:
    """Pure ASGI, so that responses are streamed and contextvars reach the routes.

    `internal_error` builds the response to an unexpected error from the request id.  `access_log` "on" logs every
    request except health checks that succeed, "all" those too, and "off" none.
    """

    def __init__(
        self, app: ASGIApp, count: CountRequest, internal_error: Callable[[str], ASGIApp],
        access_log: AccessLog = "on", tracer: Tracer = NO_TRACER,
    ) -> None:  # fmt: skip
        self.app, self.count, self.internal_error = app, count, internal_error
        self.access_log, self.tracer = access_log, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        scope[REQUEST_ID] = given if VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        with running(start_span(self.tracer, scope)) as span:
            begin_request(scope[REQUEST_ID], span)
            await self._handle(_Exchange(scope, receive, send, span))

    async def _handle(self, exchange: "_Exchange") -> None:
        start_s = time.monotonic()
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_CLOSED_REQUEST
        except Exception as error:
            exchange.span.fail(type(error).__name__)
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
        end_span(exchange.span, exchange.scope, exchange.status)
        if not self._is_logged(exchange):
            return
        # uvloop sends the response at the end of this loop iteration; logging must not delay it
        asyncio.get_running_loop().call_soon(
            partial(
                log.info, "request.ended", route=route, path=exchange.scope["path"], status=exchange.status,
                seconds=round(seconds, 4),
            )
        )  # fmt: skip

    def _is_logged(self, exchange: "_Exchange") -> bool:
        if self.access_log == "on" and exchange.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return not is_health_check(exchange.scope)
        return self.access_log != "off"


class _Exchange:
    """One request and its response, with the headers that every response has."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        self.scope, self.status, self.span = scope, 0, span
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
            if self.span.context is not None:
                headers["traceparent"] = self.span.context.traceparent
            headers.update(self.scope.get(FURTHER_HEADERS, {}))
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "private, no-store")  # jobs and events belong to one caller
            if self._body_unread:  # refused before the body was read: close the connection, do not read the rest
                headers["Connection"] = "close"
        await self._send(message)
