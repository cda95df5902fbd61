"""The worker's metrics, on a port of their own.

Labels have few values (bundle, lane, outcome, stage) and never name a job, an API key or a worker.  Names start with
`undegrade_`; the service exports the metrics of the queue, which have other names (service/metrics.py).
"""

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app, start_http_server

from jobs.lease import Leased
from jobs.state import State
from worker.messages import BatchStepped, Ready
from worker.probes import Checks, with_probes

BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
BUCKETS_IMAGES = (1, 2, 4, 8, 16, 32)
BUCKETS_MP = (0.1, 0.3, 1, 3, 10, 30)


class WorkerMetrics:
    """The metrics of one worker, in a registry of its own: several workers may run in a process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.jobs_ended = 0

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"undegrade_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"undegrade_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"undegrade_{name}", text, labels, buckets=buckets, registry=registry)

        self._leased = counter("worker_jobs_leased", "Jobs that this worker leased", "bundle", "lane")
        self._ended = counter("worker_jobs_ended", "Jobs that this worker ended", "bundle", "outcome")
        self._wait = histogram("queue_wait_seconds", "Time from submission to lease", BUCKETS_S, "bundle", "lane")
        self._stage = histogram("stage_seconds", "Duration of a stage of a job", BUCKETS_S, "bundle", "stage")
        self._images = histogram("step_batch_images", "Images in a step", BUCKETS_IMAGES, "bundle")
        self._megapixels = histogram("step_batch_megapixels", "Megapixels in a step", BUCKETS_MP, "bundle")
        self._fixed_s = gauge("step_seconds_fixed", "Seconds of a step beside those for its pixels, learned", "bundle")
        self._s_per_mp = gauge(
            "step_seconds_per_megapixel", "Seconds of a step for each computed megapixel, learned", "bundle"
        )
        self._splits = counter("oom_splits", "Batches or tiles that were halved for lack of memory", "bundle")
        self._memory = gauge("gpu_memory_bytes", "GPU memory that the engine holds")
        self._load = gauge("model_load_seconds", "Loading, golden image and memory probe of a bundle", "bundle")
        self.restarts = counter("engine_restarts", "Engine children that were replaced")
        self.leases_lost = counter("worker_leases_lost", "Leases that this worker lost")
        self.redis_errors = counter("redis_errors", "Calls that Redis did not answer")

    def serve(self, port: int | None, host: str, probes: Checks) -> None:
        """Answer /metrics and the probes on this port and address; None: do not."""
        if port is not None:
            server, _ = start_http_server(port, host, self.registry)
            server.set_app(with_probes(make_wsgi_app(self.registry), probes))

    def on_leased(self, leased: Leased) -> None:
        spec = leased.spec
        self._leased.labels(spec.bundle, spec.lane).inc()
        self._wait.labels(spec.bundle, spec.lane).observe(max(0.0, time.time() - spec.submitted_ms / 1000))

    def on_ended(self, bundle: str, state: State, stage_seconds: Mapping[str, float]) -> None:
        self.jobs_ended += 1
        self._ended.labels(bundle, state.value).inc()
        for stage, seconds in stage_seconds.items():
            self._stage.labels(bundle, stage).observe(seconds)

    def on_batch(self, batch: BatchStepped) -> None:
        self._images.labels(batch.bundle).observe(batch.images)
        self._megapixels.labels(batch.bundle).observe(batch.megapixels)
        self._fixed_s.labels(batch.bundle).set(batch.fixed_s)
        self._s_per_mp.labels(batch.bundle).set(batch.s_per_mp)
        self._splits.labels(batch.bundle).inc(batch.splits)
        self._memory.set(batch.memory_bytes)

    def on_loaded(self, ready: Ready) -> None:
        for bundle in ready.bundles:
            self._load.labels(bundle.name).set(bundle.load_s)
