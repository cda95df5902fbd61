"""Prometheus metrics, on a port of their own: what requests cost, and how the queue is.

What the queue says is asked for at each scrape, and is the same from every API process: use max(), not sum().
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Thread
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from jobs import keys
from jobs.queue import Backlog, Queue
from jobs.record import WorkerInfo
from jobs.spec import LANES, queue_name

log = structlog.get_logger()
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SCRAPE_S = 3.0
"""How long a scrape waits for Redis."""
LABELS = {"ended": ("bundle", "outcome"), "refused": ("reason",)}
"""Counters of the queue that have labels; another `a:b` is taken for a by bundle."""
RENAMED = {"ended": "jobs_ended", "refused": "jobs_refused", "lease_expired": "leases_expired"}


class RequestCounts:
    """Requests by route template and status; an id is never a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter("undegrade_requests", "Requests answered", ["route", "code"], registry=registry)
        self._seconds = Histogram(
            "undegrade_request_seconds",
            "From the first byte to the last",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )

    def __call__(self, route: str, status: int, seconds: float) -> None:
        self._total.labels(route=route, code=str(status)).inc()
        self._seconds.labels(route=route).observe(seconds)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The queue at one moment."""

    backlog: Backlog
    oldest_s: dict[str, float]
    counters: dict[str, int]
    workers: list[WorkerInfo]


async def snapshot(queue: Queue, bundle: str) -> Snapshot:
    """Ask the queue."""
    return Snapshot(
        backlog=await queue.backlog(bundle),
        oldest_s={lane: await _oldest_s(queue, queue_name(bundle, lane)) for lane in LANES},
        counters=dict(await queue.counters()),
        workers=await queue.workers(),
    )


async def _oldest_s(queue: Queue, line: str) -> float:
    """Since its head arrived."""
    head = await queue.redis.lindex(keys.RQ_QUEUE + line, 0)
    since_ms = await queue.redis.hget(keys.JOB + head.decode(), "enqueued_ms") if head else None
    return max(0.0, time.time() - int(since_ms) / 1000) if since_ms else 0.0


class QueueCollector(Collector):
    """Asks the queue, on the service's loop, whenever it is scraped from the metrics thread."""

    def __init__(self, queue: Queue, bundle: str, loop: asyncio.AbstractEventLoop) -> None:
        self.queue, self.bundle, self.loop = queue, bundle, loop

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        asked = asyncio.run_coroutine_threadsafe(snapshot(self.queue, self.bundle), self.loop)
        try:
            now = asked.result(SCRAPE_S)
        except (RedisError, TimeoutError, RuntimeError) as error:
            asked.cancel()
            log.warning("metrics.incomplete", error=type(error).__name__)
            return [_gauge("redis_up", "Whether Redis answers", 0)]
        return [_gauge("redis_up", "Whether Redis answers", 1), *self._of_queue(now), *_counters(now.counters)]

    def _of_queue(self, now: Snapshot) -> Iterator[Metric]:
        queued = GaugeMetricFamily("undegrade_jobs_queued", "Jobs in line", labels=["lane", "bundle"])
        oldest = GaugeMetricFamily(
            "undegrade_oldest_job_age_seconds", "Since the head of the line arrived", labels=["lane", "bundle"]
        )
        for lane in LANES:
            queued.add_metric([lane, self.bundle], now.backlog.queued[lane])
            oldest.add_metric([lane, self.bundle], now.oldest_s[lane])
        yield from (queued, oldest)
        yield self._by_bundle("jobs_in_flight", "Jobs in workers' hands", now.backlog.running)
        ours = [worker for worker in now.workers if worker.bundle == self.bundle]
        yield self._by_bundle("workers", "Workers that are alive", len(ours))
        yield self._by_bundle("workers_ready", "Workers that take jobs", sum(worker.ready for worker in ours))
        if now.backlog.seconds_per_job is not None:
            each_s = now.backlog.seconds_per_job
            yield self._by_bundle("seconds_per_job", "Between two ends, lately", each_s)
            waiting = now.backlog.total + now.backlog.running  # in flight too, or a scaler takes busy workers away
            yield self._by_bundle("backlog_gpu_seconds", "Work in line and in flight", waiting * each_s)

    def _by_bundle(self, name: str, what: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"undegrade_{name}", what, labels=["bundle"])
        family.add_metric([self.bundle], value)
        return family


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"undegrade_{name}", what, value=value)


def _counters(counters: dict[str, int]) -> Iterable[Metric]:
    """What happened how often: `name`, or `name:label:label`."""
    families: dict[str, CounterMetricFamily] = {}
    for text, value in sorted(counters.items()):
        name, *labels = text.split(":")
        known = LABELS.get(name, ("bundle",) if labels else ())
        if not re.fullmatch(r"[a-z_]+", name) or len(labels) != len(known):
            continue
        family = families.setdefault(
            name, CounterMetricFamily(f"undegrade_{RENAMED.get(name, name)}", "Counted by the queue", labels=known)
        )
        family.add_metric(labels, value)
    return families.values()


@asynccontextmanager
async def served(registry: CollectorRegistry, host: str, port: int | None) -> AsyncIterator[int | None]:
    """Answer scrapes while the context lasts; yields the port."""
    if port is None:
        yield None
        return
    server, thread = start_http_server(port, host, registry)
    try:
        yield int(server.server_port)
    finally:
        await asyncio.to_thread(_stop, server, thread)  # a scrape may be waiting for this very loop


def _stop(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
