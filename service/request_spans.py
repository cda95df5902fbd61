"""The span of an HTTP request, and that of a submission, by OpenTelemetry's semantic conventions.

It has no query, no header and no address of a client: a query may hold a prompt, and a header a key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import Scope

from jobs.spec import JobSpec
from jobs.tracing.context import read_context
from jobs.tracing.spans import NO_SPAN, Span, Tracer, child_span
from service.request_facts import note

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
HEALTH_CHECKS = ("/livez", "/readyz", "/startupz")


def is_health_check(scope: Scope) -> bool:
    """Return whether a platform asks how the service is."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) in HEALTH_CHECKS


def start_span(tracer: Tracer, scope: Scope) -> Span:
    """Start the span of a request, in the trace of its `traceparent`.  Health checks come too often to have one."""
    if is_health_check(scope):
        return NO_SPAN
    headers = Headers(scope=scope)
    parent = read_context(headers.getlist("traceparent"), headers.getlist("tracestate"))
    if not tracer.enabled:
        return tracer.start("", parent)
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": method, "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }  # fmt: skip
    if server := scope.get("server"):
        attributes["server.address"] = server[0]
        if server[1]:
            attributes["server.port"] = server[1]
    return tracer.start("HTTP" if method == "_OTHER" else method, parent, kind="server", attributes=attributes)


def end_span(span: Span, scope: Scope, status: int) -> None:
    """End the span of a request; `status` is 0 where no response has begun."""
    route = scope.get("route")
    if route is not None:  # other paths are a caller's own words
        span.rename(f"{scope['method']} {route.path}")
        span.set({"http.route": route.path, "url.path": scope["path"]})
    if status:
        span.set({"http.response.status_code": status})
    if not status or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status) if status else "no-response")
    span.end()


@contextmanager
def submitting(spec: JobSpec) -> Iterator[None]:
    """Submit a job in the block: its spans, in other processes, are children of this block's span."""
    attributes = {
        "messaging.system": "rq", "messaging.operation.type": "send", "messaging.operation.name": "submit",
        "messaging.destination.name": spec.queue, "messaging.message.id": spec.id,
    }  # fmt: skip
    with child_span(f"submit {spec.queue}", kind="producer", attributes=attributes):
        yield
    note(job=spec.id)
