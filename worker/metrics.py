"""The worker's metrics, on a port of their own.

Labels have few values (bundle, lane, outcome, stage) and never name a job, an API key or a worker.  The service exports
the metrics of the queue; jobs/metric_table.py lists all.
"""

import time
from collections.abc import Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    make_wsgi_app,
    start_http_server,
)

from jobs.lease import Leased
from jobs.metric_table import BY_NAME
from jobs.spec import LANES, JobSpec
from jobs.state import State
from worker.messages import BatchStepped, Ready
from worker.probes import Checks, with_probes


class WorkerMetrics:
    """The metrics of one worker, in a registry of its own: several workers may run in a process."""

    def __init__(self, bundles: Sequence[str] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        self.jobs_ended = 0

        def counter(name: str) -> Counter:
            spec = BY_NAME[f"undegrade_{name}"]
            return Counter(spec.family, spec.help, spec.labels, registry=registry)

        def gauge(name: str) -> Gauge:
            spec = BY_NAME[f"undegrade_{name}"]
            return Gauge(spec.family, spec.help, spec.labels, registry=registry)

        def histogram(name: str) -> Histogram:
            spec = BY_NAME[f"undegrade_{name}"]
            return Histogram(spec.family, spec.help, spec.labels, buckets=spec.buckets, registry=registry)

        self._leased, self._ended = counter("worker_jobs_leased_total"), counter("worker_jobs_ended_total")
        self._wait, self._job = histogram("queue_wait_seconds"), histogram("job_seconds")
        self._stage = histogram("stage_seconds")
        self._images, self._megapixels = histogram("step_batch_images"), histogram("step_batch_megapixels")
        self._fixed_s, self._s_per_mp = gauge("step_seconds_fixed"), gauge("step_seconds_per_megapixel")
        self._splits = counter("oom_splits_total")
        self._memory_used, self._memory_limit = gauge("device_memory_used_bytes"), gauge("device_memory_limit_bytes")
        self._budget_mp, self._load = gauge("batch_budget_megapixels"), gauge("model_load_seconds")
        self.restarts, self.engine_ready = counter("engine_restarts_total"), gauge("engine_ready")
        self.recycles = counter("engine_recycles_total")
        for reason in ("jobs", "memory"):
            self.recycles.labels(reason)
        self.leases_lost, self.redis_errors = counter("worker_leases_lost_total"), counter("redis_errors_total")
        self.held = gauge("worker_jobs_held")
        self.oldest_start = gauge("worker_oldest_job_start_timestamp_seconds")
        self.last_tick = gauge("worker_last_tick_timestamp_seconds")
        self.clock_skew = gauge("worker_clock_skew_seconds")
        for bundle in bundles:
            self._begin_at_zero(bundle)

    def _begin_at_zero(self, bundle: str) -> None:
        """Export the series of a bundle before they count, so that the first increase is seen as one."""
        self._splits.labels(bundle)
        for state in State:
            if state.over:
                self._ended.labels(bundle, state.value)
        for lane in LANES:
            for metric in (self._leased, self._wait, self._job):
                metric.labels(bundle, lane)

    def serve(self, port: int | None, host: str, probes: Checks) -> None:
        """Answer /metrics and the probes on this port and address; None: do not."""
        if port is not None:
            disable_created_metrics()  # type: ignore[no-untyped-call]
            server, _ = start_http_server(port, host, self.registry)
            server.set_app(with_probes(make_wsgi_app(self.registry), probes))

    def on_leased(self, leased: Leased) -> None:
        spec = leased.spec
        self._leased.labels(spec.bundle, spec.lane).inc()
        self._wait.labels(spec.bundle, spec.lane).observe(_age_s(spec))

    def on_ended(self, spec: JobSpec, state: State, stage_seconds: Mapping[str, float]) -> None:
        self.jobs_ended += 1
        self._ended.labels(spec.bundle, state.value).inc()
        if state is State.SUCCEEDED:
            self._job.labels(spec.bundle, spec.lane).observe(_age_s(spec))
        for stage, seconds in stage_seconds.items():
            self._stage.labels(spec.bundle, stage).observe(seconds)

    def on_batch(self, batch: BatchStepped) -> None:
        self._images.labels(batch.bundle).observe(batch.images)
        self._megapixels.labels(batch.bundle).observe(batch.megapixels)
        self._fixed_s.labels(batch.bundle).set(batch.fixed_s)
        self._s_per_mp.labels(batch.bundle).set(batch.s_per_mp)
        self._splits.labels(batch.bundle).inc(batch.splits)
        self._memory_used.set(batch.memory_bytes)
        self._memory_limit.set(batch.memory_limit_bytes)

    def on_loaded(self, ready: Ready) -> None:
        for bundle in ready.bundles:
            self._load.labels(bundle.name).set(bundle.load_s)
            self._budget_mp.labels(bundle.name).set(bundle.budget_mp)


def _age_s(spec: JobSpec) -> float:
    return max(0.0, time.time() - spec.submitted_ms / 1000)
