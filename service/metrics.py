"""Prometheus metrics, on a port of their own: what requests cost, and how the queue is.

What the queue says is asked for at each scrape, and is the same from every API process: use max(), not sum().
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Thread
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from jobs import redis_keys
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
    """The queue at one moment; `lines` by the names of the bundles."""

    lines: dict[str, "Line"]
    counters: dict[str, int]
    workers: list[WorkerInfo]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What waits for a bundle."""

    backlog: Backlog
    oldest_s: dict[str, float]


async def snapshot(queue: Queue, bundle: str) -> Snapshot:
    """Ask the queue about this bundle and those that workers have."""
    workers = await queue.workers.alive()
    names = sorted({bundle, *(worker.bundle for worker in workers)})
    return Snapshot(
        lines={name: await _line(queue, name) for name in names},
        counters=dict(await queue.counters.read()),
        workers=workers,
    )


async def _line(queue: Queue, bundle: str) -> Line:
    return Line(
        backlog=await queue.backlog(bundle),
        oldest_s={lane: await _oldest_s(queue, queue_name(bundle, lane)) for lane in LANES},
    )


async def _oldest_s(queue: Queue, line: str) -> float:
    """Since its head arrived."""
    head = await queue.redis.lindex(redis_keys.RQ_QUEUE + line, 0)
    since_ms = await queue.redis.hget(redis_keys.JOB + head.decode(), "enqueued_ms") if head else None
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
        yield _gauges(
            "jobs_queued", "Jobs in line", ("lane", "bundle"),
            {(lane, name): line.backlog.queued[lane] for name, line in now.lines.items() for lane in LANES},
        )  # fmt: skip
        yield _gauges(
            "oldest_job_age_seconds", "Since the head of the line arrived", ("lane", "bundle"),
            {(lane, name): line.oldest_s[lane] for name, line in now.lines.items() for lane in LANES},
        )  # fmt: skip
        backlogs = {name: line.backlog for name, line in now.lines.items()}
        yield _by_bundle("jobs_in_flight", "Jobs in workers' hands", {n: b.running for n, b in backlogs.items()})
        alive = [worker.bundle for worker in now.workers]
        ready = [worker.bundle for worker in now.workers if worker.ready]
        yield _by_bundle("workers", "Workers that are alive", {name: alive.count(name) for name in now.lines})
        yield _by_bundle("workers_ready", "Workers that take jobs", {name: ready.count(name) for name in now.lines})
        each_s = {name: b.seconds_per_job for name, b in backlogs.items() if b.seconds_per_job is not None}
        # In flight too, or a scaler takes busy workers away
        left_s = {name: (backlogs[name].total + backlogs[name].running) * seconds for name, seconds in each_s.items()}
        yield _by_bundle("seconds_per_job", "Between two ends, lately", each_s)
        yield _by_bundle("backlog_gpu_seconds", "Work in line and in flight", left_s)


def _by_bundle(name: str, what: str, values: Mapping[str, float]) -> Metric:
    return _gauges(name, what, ("bundle",), {(bundle,): value for bundle, value in values.items()})


def _gauges(name: str, what: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(f"undegrade_{name}", what, labels=labels)
    for words, value in values.items():
        family.add_metric(words, value)
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
