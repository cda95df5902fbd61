"""Prometheus metrics on a port of their own: those of requests, beside those of the queue (queue_metrics.py)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, start_http_server

from jobs.metric_table import BY_NAME


class RequestMetrics:
    """Requests by path template and status; a label never contains an id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        total, seconds = BY_NAME["undegrade_requests_total"], BY_NAME["undegrade_request_seconds"]
        self._total = Counter(total.family, total.help, total.labels, registry=registry)
        self._seconds = Histogram(
            seconds.family, seconds.help, seconds.labels, buckets=seconds.buckets, registry=registry
        )

    def __call__(self, route: str, status: int, seconds: float) -> None:
        self._total.labels(route=route, code=str(status)).inc()
        self._seconds.labels(route=route).observe(seconds)


@asynccontextmanager
async def serve_metrics(registry: CollectorRegistry, host: str, port: int | None) -> AsyncIterator[int | None]:
    """Serve /metrics while the context is open; yield the port, or None where metrics are off."""
    if port is None:
        yield None
        return
    disable_created_metrics()  # type: ignore[no-untyped-call]
    server, thread = start_http_server(port, host, registry)
    try:
        yield int(server.server_port)
    finally:
        await asyncio.to_thread(_stop, server, thread)  # in a thread: a scrape may be waiting for this event loop


def _stop(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
