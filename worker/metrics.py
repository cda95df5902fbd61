"""The worker's metrics, on a port of their own.  Labels are bounded: bundle, lane, outcome; never a job or a worker."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from jobs.queue import Leased
from jobs.record import State
from worker.job_run import JobRun
from worker.messages import Ready, Turned

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class WorkerMetrics:
    """One registry a worker, so that tests and several workers in a process do not meet."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._taken = Counter("undegrade_jobs_taken", "Jobs leased", ["bundle", "lane"], registry=registry)
        self._ended = Counter("undegrade_jobs_ended", "Jobs ended", ["bundle", "outcome"], registry=registry)
        self._wait = Histogram(
            "undegrade_queue_wait_seconds",
            "From arrival to lease",
            ["bundle", "lane"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stage = Histogram(
            "undegrade_stage_seconds", "Of one job's stage", ["bundle", "stage"], buckets=SECONDS, registry=registry
        )
        self._images = Histogram(
            "undegrade_step_batch_images", "Images a step", ["bundle"], buckets=(1, 2, 4, 8, 16, 32), registry=registry
        )
        self._megapixels = Histogram(
            "undegrade_step_batch_megapixels",
            "Megapixels a step",
            ["bundle"],
            buckets=(0.1, 0.3, 1, 3, 10, 30),
            registry=registry,
        )
        self._splits = Counter(
            "undegrade_oom_splits", "Batches or tiles halved for memory", ["bundle"], registry=registry
        )
        self._memory = Gauge("undegrade_gpu_memory_bytes", "Held by the engine", registry=registry)
        self._load = Gauge(
            "undegrade_model_load_seconds", "Loading, golden image and probe", ["bundle"], registry=registry
        )
        self.restarts = Counter("undegrade_engine_restarts", "Engine children replaced", registry=registry)
        self.lost = Counter("undegrade_lease_expired", "Leases that this worker lost", registry=registry)
        self.redis_errors = Counter("undegrade_redis_errors", "Calls that Redis did not answer", registry=registry)

    def serve(self, port: int | None, host: str) -> None:
        """Answer /metrics on this port and address; None: nowhere."""
        if port is not None:
            start_http_server(port, host, self.registry)

    def took(self, leased: Leased) -> None:
        spec = leased.spec
        self._taken.labels(spec.bundle, spec.lane).inc()
        self._wait.labels(spec.bundle, spec.lane).observe(max(0.0, time.time() - spec.submitted_ms / 1000))

    def ended(self, run: JobRun, state: State) -> None:
        self._ended.labels(run.spec.bundle, state.value).inc()
        for stage, seconds in run.seconds.items():
            self._stage.labels(run.spec.bundle, stage).observe(seconds)

    def turned(self, turn: Turned) -> None:
        self._images.labels(turn.bundle).observe(turn.images)
        self._megapixels.labels(turn.bundle).observe(turn.megapixels)
        self._splits.labels(turn.bundle).inc(turn.splits)
        self._memory.set(turn.memory_bytes)

    def loaded(self, ready: Ready) -> None:
        for bundle in ready.bundles:
            self._load.labels(bundle.name).set(bundle.load_s)
