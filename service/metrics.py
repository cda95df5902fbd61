"""Prometheus metrics on a port of their own: the API's requests and the state of the queue.

The queue is read at each scrape.  Every API process reports the same queue, so aggregate with max(), not sum().
"""

import asyncio
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
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SCRAPE_TIMEOUT_S = 3.0
"""How long a scrape waits for Redis."""
COUNTERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ended": ("jobs_ended", "Jobs ended", ("bundle", "outcome")),
    "refused": ("jobs_refused", "RQ jobs refused because they did not come through the API", ("reason",)),
    "lease_expired": ("leases_expired", "Leases that ended because their worker died", ()),
}
"""The queue's counters in Redis, `name` or `name:label:label`: our metric, its description, its labels."""


class RequestMetrics:
    """Requests by path template and status; a label never contains an id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter("undegrade_requests", "Requests answered", ["route", "code"], registry=registry)
        self._seconds = Histogram(
            "undegrade_request_seconds",
            "Seconds from the first byte of a request to the last byte of its response",
            ["route"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )

    def __call__(self, route: str, status: int, seconds: float) -> None:
        self._total.labels(route=route, code=str(status)).inc()
        self._seconds.labels(route=route).observe(seconds)


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """The queue at one moment; `bundles` by name."""

    bundles: dict[str, "BundleSnapshot"]
    counters: dict[str, int]
    workers: list[WorkerInfo]
    paused: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class BundleSnapshot:
    """The queue of one bundle; `oldest_s` is the age of the first job of each lane."""

    backlog: Backlog
    oldest_s: dict[str, float]


async def take_snapshot(queue: Queue, bundle: str) -> QueueSnapshot:
    """Read the queue of this bundle and of every bundle that a worker has."""
    workers = await queue.workers.alive()
    names = sorted({bundle, *(worker.bundle for worker in workers)})
    return QueueSnapshot(
        bundles={name: await _bundle_snapshot(queue, name) for name in names},
        counters=dict(await queue.counters.read()),
        workers=workers,
        paused=frozenset(await queue.pauses.paused()),
    )


async def _bundle_snapshot(queue: Queue, bundle: str) -> BundleSnapshot:
    return BundleSnapshot(
        backlog=await queue.backlog(bundle),
        oldest_s={lane: await _oldest_s(queue, queue_name(bundle, lane)) for lane in LANES},
    )


async def _oldest_s(queue: Queue, name: str) -> float:
    head = await queue.redis.lindex(redis_keys.RQ_QUEUE + name, 0)
    since_ms = await queue.redis.hget(redis_keys.JOB + head.decode(), "enqueued_ms") if head else None
    return max(0.0, time.time() - int(since_ms) / 1000) if since_ms else 0.0


class QueueCollector(Collector):
    """Reads the queue on the service's event loop at each scrape; a scrape runs in the metrics server's thread."""

    def __init__(self, queue: Queue, bundle: str, loop: asyncio.AbstractEventLoop) -> None:
        self.queue, self.bundle, self.loop = queue, bundle, loop

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        future = asyncio.run_coroutine_threadsafe(take_snapshot(self.queue, self.bundle), self.loop)
        try:
            snapshot = future.result(SCRAPE_TIMEOUT_S)
        except (RedisError, TimeoutError, RuntimeError) as error:
            future.cancel()
            log.warning("metrics.incomplete", error=type(error).__name__)
            return [_redis_up(0)]
        return [_redis_up(1), *_queue_metrics(snapshot), *_counter_metrics(snapshot.counters)]


def _redis_up(value: int) -> Metric:
    return GaugeMetricFamily("undegrade_redis_up", "1 if Redis answers, else 0", value=value)


def _queue_metrics(snapshot: QueueSnapshot) -> Iterator[Metric]:
    bundles = snapshot.bundles
    yield _gauges(
        "jobs_queued", "Jobs in the queue", ("lane", "bundle"),
        {(lane, name): bundle.backlog.queued[lane] for name, bundle in bundles.items() for lane in LANES},
    )  # fmt: skip
    yield _gauges(
        "oldest_job_age_seconds", "Age of the first job in the queue", ("lane", "bundle"),
        {(lane, name): bundle.oldest_s[lane] for name, bundle in bundles.items() for lane in LANES},
    )  # fmt: skip
    backlogs = {name: bundle.backlog for name, bundle in bundles.items()}
    yield _by_bundle(
        "jobs_in_flight", "Jobs leased by workers", {name: backlog.running for name, backlog in backlogs.items()}
    )
    alive = [worker.bundle for worker in snapshot.workers]
    ready = [worker.bundle for worker in snapshot.workers if worker.takes_jobs]
    drained = [worker.bundle for worker in snapshot.workers if worker.drain is not None]
    yield _by_bundle("workers", "Workers that are alive", {name: alive.count(name) for name in bundles})
    yield _by_bundle("workers_ready", "Workers that take jobs", {name: ready.count(name) for name in bundles})
    yield _by_bundle("workers_drained", "Workers that operators drain", {name: drained.count(name) for name in bundles})
    yield _gauges(
        "lane_paused", "1 while operators have paused the lane, else 0", ("lane",),
        {(lane,): float(lane in snapshot.paused) for lane in LANES},
    )  # fmt: skip
    per_job_s = {name: b.seconds_per_job for name, b in backlogs.items() if b.seconds_per_job is not None}
    yield _by_bundle("seconds_per_job", "Recent seconds per job while at least one job ran", per_job_s)
    # Running jobs count too, otherwise an autoscaler removes busy workers; more workers do not help a paused lane
    waiting = {
        name: sum(jobs for lane, jobs in backlog.queued.items() if lane not in snapshot.paused)
        for name, backlog in backlogs.items()
    }
    left_s = {name: (waiting[name] + backlogs[name].running) * seconds for name, seconds in per_job_s.items()}
    yield _by_bundle("backlog_gpu_seconds", "Estimated work of queued and running jobs", left_s)


def _by_bundle(name: str, description: str, values: Mapping[str, float]) -> Metric:
    return _gauges(name, description, ("bundle",), {(bundle,): value for bundle, value in values.items()})


def _gauges(name: str, description: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(f"undegrade_{name}", description, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _counter_metrics(counters: Mapping[str, int]) -> Iterable[Metric]:
    families: dict[str, CounterMetricFamily] = {}
    for text, value in sorted(counters.items()):
        counter, *label_values = text.split(":")
        name, description, labels = COUNTERS.get(counter, ("", "", ()))
        if not name or len(label_values) != len(labels):
            continue
        family = families.setdefault(name, CounterMetricFamily(f"undegrade_{name}", description, labels=labels))
        family.add_metric(label_values, value)
    return families.values()


@asynccontextmanager
async def serve_metrics(registry: CollectorRegistry, host: str, port: int | None) -> AsyncIterator[int | None]:
    """Serve /metrics while the context is open; yield the port, or None where metrics are off."""
    if port is None:
        yield None
        return
    server, thread = start_http_server(port, host, registry)
    try:
        yield int(server.server_port)
    finally:
        await asyncio.to_thread(_stop, server, thread)  # in a thread: a scrape may be waiting for this event loop


def _stop(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
