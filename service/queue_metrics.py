"""The metrics of the queue, its store and its Redis, read at each scrape.

Every API process reports the same queue, so aggregate with max(), not sum().
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError, ResponseError

from jobs import redis_keys
from jobs.backlog import Backlog
from jobs.blob_store import BlobStore
from jobs.deliveries import ATTEMPT_OUTCOMES, Outbox, OutboxSnapshot, merged_outbox
from jobs.device_backlog import backlog_device_s
from jobs.metric_table import BY_NAME, FAILURE_CODES, OTHER_CODE
from jobs.object_store import disk_room
from jobs.queue import Queue
from jobs.record import WorkerInfo
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards
from jobs.spec import LANES
from jobs.state import State
from service.settings import ServiceSettings
from service.shard_view import shard_values

log = structlog.get_logger()
SCRAPE_TIMEOUT_S = 3.0
"""How long a scrape waits for Redis."""
COUNTERS: dict[str, str] = {
    "ended": "undegrade_jobs_ended_total",
    "failed": "undegrade_jobs_failed_total",
    "refused": "undegrade_jobs_refused_total",
    "lease_expired": "undegrade_leases_expired_total",
    "webhook": "undegrade_webhook_attempts_total",
}
"""The queue's counters in Redis, `name` or `name:label:label`: our metric."""

Values = Mapping[tuple[str, ...], float]
"""The values of a metric by those of its labels."""


@dataclass(frozen=True, kw_only=True)
class BundleSnapshot:
    """The queue of one bundle; `oldest_s` is the age of the first job of each lane."""

    backlog: Backlog
    oldest_s: dict[str, float]
    device_s: float


@dataclass(frozen=True, kw_only=True)
class StoreSnapshot:
    """Bytes of the store and of Redis' memory; `memory_limit` is 0 where there is none, and `free_ratio` is 0 to 1."""

    used: int
    limit: int
    free: int
    free_ratio: float
    memory_used: int | None
    memory_limit: int | None


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """The queue at one moment; `bundles` by name."""

    bundles: dict[str, BundleSnapshot]
    counters: dict[str, int]
    workers: list[WorkerInfo]
    store: StoreSnapshot
    clock_skew_s: float
    paused: frozenset[str] = frozenset()
    outbox: OutboxSnapshot = field(default_factory=OutboxSnapshot)
    shards: Sequence[Shard] = ()


async def take_snapshot(
    queue: Queue, store: BlobStore, settings: ServiceSettings, shards: Shards | None = None
) -> QueueSnapshot:
    """Read the queue of the API's bundle and of every bundle that a worker has."""
    workers = await queue.workers.alive()
    names = sorted({settings.bundle, *(worker.bundle for worker in workers)})
    return QueueSnapshot(
        bundles={name: await _bundle_snapshot(queue, name) for name in names},
        counters=dict(await queue.counters.read()),
        workers=workers,
        store=await _store_snapshot(queue, store, settings),
        clock_skew_s=await queue.clock_skew_s(),
        paused=frozenset(await queue.pauses.paused()),
        outbox=merged_outbox([await Outbox(part.redis).snapshot(await part.now_ms()) for part in queue.parts()]),
        shards=shards.all if shards else (),
    )


async def _bundle_snapshot(queue: Queue, bundle: str) -> BundleSnapshot:
    line = await queue.line(bundle)
    return BundleSnapshot(
        backlog=await queue.backlog(bundle),
        oldest_s={lane: line.oldest_s(lane) or 0.0 for lane in LANES},
        device_s=backlog_device_s(line),
    )


async def _store_snapshot(queue: Queue, store: BlobStore, settings: ServiceSettings) -> StoreSnapshot:
    used, (memory_used, memory_limit) = await queue.stored_bytes(), await _redis_memory(queue)
    rooms = [(settings.max_stored_bytes - used, settings.max_stored_bytes)]
    if memory_limit and memory_used is not None:
        for_submissions = memory_limit * redis_keys.MEMORY_PERCENT_FOR_SUBMISSIONS // 100
        rooms.append((for_submissions - memory_used, for_submissions))
    if disk := await store.disk_room():
        rooms.append(disk)
    if settings.embedded_redis_folder is not None:  # its file is rewritten, beside the old one
        free, size = await disk_room(settings.embedded_redis_folder)
        rooms.append((free - (used if store.beside_queue else 0), size))
    return StoreSnapshot(
        used=used, limit=settings.max_stored_bytes, free=max(0, min(free for free, _ in rooms)),
        free_ratio=max(0.0, min(free / max(1, size) for free, size in rooms)), memory_used=memory_used,
        memory_limit=memory_limit,
    )  # fmt: skip


async def _redis_memory(queue: Queue) -> tuple[int | None, int | None]:
    """Returns the bytes in use and maxmemory; None where a managed Redis does not tell."""
    used, limits = 0, []
    for part in queue.parts():
        try:
            info = await part.redis.info("memory")
        except ResponseError:
            return None, None
        used += int(info["used_memory"])
        limits.append(int(info.get("maxmemory", 0)))
    return used, sum(limits) if all(limits) else 0


class QueueCollector(Collector):
    """Reads the queue on the service's event loop at each scrape; a scrape runs in the metrics server's thread."""

    def __init__(
        self, queue: Queue, store: BlobStore, settings: ServiceSettings, loop: asyncio.AbstractEventLoop,
        shards: Shards | None = None,
    ) -> None:  # fmt: skip
        self.queue, self.store, self.settings, self.loop, self.shards = queue, store, settings, loop, shards

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        snapshot = take_snapshot(self.queue, self.store, self.settings, self.shards)
        future = asyncio.run_coroutine_threadsafe(snapshot, self.loop)
        try:
            taken = future.result(SCRAPE_TIMEOUT_S)
        except (RedisError, TimeoutError, RuntimeError) as error:
            future.cancel()
            log.warning("metrics.incomplete", error=type(error).__name__)
            shards = shard_values(self.shards.all if self.shards else ())
            return [_family("undegrade_redis_up", {(): 0}), *(_family(name, by) for name, by in shards.items())]
        return list(families(taken))


def families(snapshot: QueueSnapshot) -> Iterator[Metric]:
    """Yields the metrics of a queue that answers."""
    values: dict[str, Values] = {
        "undegrade_redis_up": {(): 1.0}, "undegrade_api_clock_skew_seconds": {(): snapshot.clock_skew_s},
        **_queue_values(snapshot), **_store_values(snapshot.store), **_outbox_values(snapshot.outbox),
        **_counter_values(snapshot.counters, snapshot.bundles), **shard_values(snapshot.shards),
    }  # fmt: skip
    for name, by_labels in values.items():
        yield _family(name, by_labels)


def _family(name: str, values: Values) -> Metric:
    spec = BY_NAME[name]
    kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(spec.family, spec.help, labels=spec.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _queue_values(snapshot: QueueSnapshot) -> dict[str, Values]:
    bundles = snapshot.bundles
    alive = [worker.bundle for worker in snapshot.workers]
    ready = [worker.bundle for worker in snapshot.workers if worker.takes_jobs]
    drained = [worker.bundle for worker in snapshot.workers if worker.drain is not None]
    per_job_s = {name: bundle.backlog.seconds_per_job for name, bundle in bundles.items()}
    by_lane = [(lane, name, bundle) for name, bundle in bundles.items() for lane in LANES]
    return {
        "undegrade_jobs_queued": {(lane, name): bundle.backlog.queued[lane] for lane, name, bundle in by_lane},
        "undegrade_oldest_job_age_seconds": {(lane, name): bundle.oldest_s[lane] for lane, name, bundle in by_lane},
        "undegrade_jobs_in_flight": {(name,): bundle.backlog.running for name, bundle in bundles.items()},
        "undegrade_workers": {(name,): alive.count(name) for name in bundles},
        "undegrade_workers_ready": {(name,): ready.count(name) for name in bundles},
        "undegrade_workers_drained": {(name,): drained.count(name) for name in bundles},
        "undegrade_lane_paused": {(lane,): float(lane in snapshot.paused) for lane in LANES},
        "undegrade_seconds_per_job": {(name,): seconds for name, seconds in per_job_s.items() if seconds is not None},
        "undegrade_backlog_device_seconds": {(): sum(bundle.device_s for bundle in bundles.values())},
        "undegrade_bundle_backlog_device_seconds": {(name,): bundle.device_s for name, bundle in bundles.items()},
    }


def _store_values(store: StoreSnapshot) -> dict[str, Values]:
    return {
        "undegrade_store_used_bytes": {(): store.used}, "undegrade_store_limit_bytes": {(): store.limit},
        "undegrade_store_free_bytes": {(): store.free}, "undegrade_store_free_ratio": {(): store.free_ratio},
        "undegrade_redis_memory_used_bytes": _if_told(store.memory_used),
        "undegrade_redis_memory_limit_bytes": _if_told(store.memory_limit),
    }  # fmt: skip


def _if_told(value: int | None) -> Values:
    return {} if value is None else {(): value}


def _outbox_values(outbox: OutboxSnapshot) -> dict[str, Values]:
    return {
        "undegrade_deliveries_waiting": {(): outbox.waiting},
        "undegrade_oldest_delivery_age_seconds": {(): outbox.oldest_s},
        "undegrade_delivery_overdue_seconds": {(): outbox.overdue_s},
    }


def _counter_values(counters: Mapping[str, int], bundles: Iterable[str]) -> dict[str, Values]:
    """Returns the counters; those that can be named before they count begin at 0, so that a first increase is seen."""
    found: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in COUNTERS.values()}
    found["undegrade_leases_expired_total"][()] = 0
    found["undegrade_webhook_attempts_total"] = {(outcome,): 0 for outcome in ATTEMPT_OUTCOMES}
    for bundle in bundles:
        found["undegrade_jobs_ended_total"] |= {(bundle, state): 0 for state in State if state.over}
        found["undegrade_jobs_failed_total"] |= {(bundle, code): 0 for code in (*sorted(FAILURE_CODES), OTHER_CODE)}
    for text, value in sorted(counters.items()):
        counter, *labels = text.split(":")
        name = COUNTERS.get(counter)
        if name is None or len(labels) != len(BY_NAME[name].labels):
            continue
        if counter == "failed" and labels[-1] not in FAILURE_CODES:
            labels[-1] = OTHER_CODE
        found[name][tuple(labels)] = found[name].get(tuple(labels), 0) + value
    return {**found}
