"""Every metric of undegrade in one table, from which the code builds its metrics and docs/metrics.md is generated.

Names follow the Prometheus conventions: the prefix, base units as the last word, `_total` for counters.  A label has
few values and never names a job, an API key, a path or a worker.  A name belongs to one process, API or worker.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Process = Literal["api", "worker"]

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STAGE_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
JOB_BUCKETS_S = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""The targets of the lanes (deploy/observe/prometheus/rules/slo.yml) are among them."""
IMAGE_BUCKETS = (1, 2, 4, 8, 16, 32)
MEGAPIXEL_BUCKETS = (0.1, 0.3, 1, 3, 10, 30)

LABELS: dict[str, str] = {
    "bundle": "the bundles that workers serve, and the API's default",
    "lane": "`interactive`, `standard`, `bulk`",
    "outcome": "`succeeded`, `failed`, `canceled`, `expired`; of a delivery `delivered`, `retried` (it will be tried "
    "again), `failed`, `disabled` (its receiver answered 410)",
    "code": "the status of a response, or the code of a failed job's error ([API](api.md#errors)); "
    "an unknown code of a job counts as `other`",
    "route": "method and path template, such as `GET /jobs/{job_id}`; `unmatched` for unknown paths",
    "reason": "`oversized`, `not-json`, `function-not-listed`, `callback`, `bad-spec`",
    "shard": "the number of a Redis server ([shards](shards.md)); there where the service has several",
    "quota": "`requests`, `jobs`, `megapixels`, `waits` ([API](api.md#limits-of-a-key))",
    "stage": "the [stages](logs.md#stages) of a job: `queued`, `fetch`, `decode`, `turn`, `assess`, `steps`, `finish`, "
    "`restore` (which contains the three before it), `encode`, `store`",
}
"""The values that each label can have."""

FAILURE_CODES = frozenset(
    {
        "bad-image", "decode-timeout", "bad-controls", "encode", "input-missing", "deadline", "time-limit",
        "store-unavailable", "storage-full", "out-of-memory", "poison-suspected", "not-finite", "engine-error",
        "no-such-bundle", "internal-error", "refused", "spec-version", "purged", "provenance", "prompt-not-understood",
    }
)  # fmt: skip
"""The codes that a failed job can have; others count as OTHER_CODE, so that the label stays bounded."""
OTHER_CODE = "other"


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """One metric.

    Attributes:
        name: as it is exposed, with `_total` for a counter.
        unit: of its value; a count of things names the things.
        labels: keys of LABELS.
        buckets: upper bounds of a histogram.
    """

    name: str
    kind: Kind
    process: Process
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """The name as client libraries take it."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


def _rows(process: Process, *rows: tuple[str, Kind, str, tuple[str, ...], str]) -> Iterator[MetricSpec]:
    for name, kind, unit, labels, text in rows:
        yield MetricSpec(
            name=f"undegrade_{name}", kind=kind, process=process, unit=unit, labels=labels, help=text,
            buckets=_BUCKETS.get(name, ()),
        )  # fmt: skip


_BUCKETS: dict[str, tuple[float, ...]] = {
    "request_seconds": REQUEST_BUCKETS_S, "queue_wait_seconds": JOB_BUCKETS_S, "job_seconds": JOB_BUCKETS_S,
    "stage_seconds": STAGE_BUCKETS_S, "step_batch_images": IMAGE_BUCKETS, "step_batch_megapixels": MEGAPIXEL_BUCKETS,
}  # fmt: skip

METRICS: tuple[MetricSpec, ...] = (
    *_rows(
        "api",
        ("requests_total", "counter", "requests", ("route", "code"), "Requests answered"),
        (
            "request_seconds", "histogram", "seconds", ("route",),
            "Time from the first byte of a request to the last byte of its response",
        ),
        (
            "quota_refusals_total", "counter", "requests", ("quota",),
            "Requests refused because a quota of the caller was used up",
        ),
        ("redis_up", "gauge", "0 or 1", (), "1 if Redis answers, else 0, and no metric of the queue is there"),
        ("shard_up", "gauge", "0 or 1", ("shard",), "1 if this one of several Redis servers answers, else 0"),
        ("shard_drained", "gauge", "0 or 1", ("shard",), "1 while operators keep new jobs away from it, else 0"),
        ("shard_jobs_queued", "gauge", "jobs", ("shard",), "Queued jobs of all bundles there, at the last check"),
        (
            "shard_backlog_device_seconds", "gauge", "seconds", ("shard",),
            "Estimated device time that its jobs still need, at the last check; a new job goes to the smallest",
        ),
        ("redis_memory_used_bytes", "gauge", "bytes", (), "Memory that Redis uses"),
        ("redis_memory_limit_bytes", "gauge", "bytes", (), "Redis' maxmemory; 0 where it has no limit"),
        ("api_clock_skew_seconds", "gauge", "seconds", (), "The clock of this API minus the clock of Redis"),
        ("jobs_queued", "gauge", "jobs", ("lane", "bundle"), "Jobs in the queue"),
        ("oldest_job_age_seconds", "gauge", "seconds", ("lane", "bundle"), "Age of the first job in the queue"),
        ("jobs_in_flight", "gauge", "jobs", ("bundle",), "Jobs leased by workers"),
        ("workers", "gauge", "workers", ("bundle",), "Workers that are alive"),
        ("workers_ready", "gauge", "workers", ("bundle",), "Workers that take jobs"),
        (
            "workers_drained", "gauge", "workers", ("bundle",),
            "Workers that operators drain, those that still hold jobs included",
        ),
        ("lane_paused", "gauge", "0 or 1", ("lane",), "1 while operators have paused the lane, else 0"),
        (
            "seconds_per_job", "gauge", "seconds per job", ("bundle",),
            "Recent seconds per job while at least one job ran; absent before a job has ended",
        ),
        (
            "backlog_device_seconds", "gauge", "seconds", (),
            "Estimated device time that all queued and running jobs still need; autoscalers divide it",
        ),
        (
            "bundle_backlog_device_seconds", "gauge", "seconds", ("bundle",),
            "Estimated device time that the queued and running jobs of a bundle still need",
        ),
        ("jobs_ended_total", "counter", "jobs", ("bundle", "outcome"), "Jobs ended"),
        ("jobs_failed_total", "counter", "jobs", ("bundle", "code"), "Failed and expired jobs by their error's code"),
        (
            "jobs_refused_total", "counter", "jobs", ("reason",),
            "RQ jobs refused because they did not come through the API",
        ),
        ("leases_expired_total", "counter", "leases", (), "Leases that ended because their worker died"),
        (
            "webhook_attempts_total", "counter", "attempts", ("outcome",),
            "Tries to deliver a webhook, or a result to a caller's URL",
        ),
        ("deliveries_waiting", "gauge", "deliveries", (), "Deliveries that are not over: they wait for a try"),
        ("oldest_delivery_age_seconds", "gauge", "seconds", (), "Age of the oldest of these deliveries"),
        (
            "delivery_overdue_seconds", "gauge", "seconds", (),
            "How long the first delivery has been due; rises while no webhook process runs",
        ),
        ("store_used_bytes", "gauge", "bytes", (), "Images in the store, inputs and results"),
        ("store_limit_bytes", "gauge", "bytes", (), "UNDEGRADE_MAX_STORED_MEGABYTES in bytes"),
        (
            "store_free_bytes", "gauge", "bytes", (),
            "Bytes of new images that still fit: by the limit on stored images, the disk and the memory of Redis",
        ),
        (
            "store_free_ratio", "gauge", "0 to 1", (),
            "The share that is free of the limit on stored images, the disk or the memory of Redis: the smallest",
        ),
    ),
    *_rows(
        "worker",
        ("worker_jobs_leased_total", "counter", "jobs", ("bundle", "lane"), "Jobs that this worker leased"),
        ("worker_jobs_ended_total", "counter", "jobs", ("bundle", "outcome"), "Jobs that this worker ended"),
        ("worker_jobs_held", "gauge", "jobs", (), "Jobs that this worker has leased and not ended"),
        (
            "worker_oldest_job_start_timestamp_seconds", "gauge", "seconds since 1970", (),
            "When the oldest job in the engine began; 0 while none runs",
        ),
        (
            "worker_last_tick_timestamp_seconds", "gauge", "seconds since 1970", (),
            "When the supervisor's loop last ran; it runs every second",
        ),
        ("worker_clock_skew_seconds", "gauge", "seconds", (), "The clock of this worker minus the clock of Redis"),
        ("worker_leases_lost_total", "counter", "leases", (), "Leases that this worker lost"),
        ("redis_errors_total", "counter", "calls", (), "Calls that Redis did not answer"),
        ("queue_wait_seconds", "histogram", "seconds", ("bundle", "lane"), "Time from submission to lease"),
        (
            "job_seconds", "histogram", "seconds", ("bundle", "lane"),
            "Time from submission to the end, for jobs that succeeded",
        ),
        ("stage_seconds", "histogram", "seconds", ("bundle", "stage"), "Duration of a stage of a job"),
        ("step_batch_images", "histogram", "images", ("bundle",), "Images in a step"),
        ("step_batch_megapixels", "histogram", "megapixels", ("bundle",), "Megapixels in a step"),
        (
            "step_seconds_fixed", "gauge", "seconds a step", ("bundle",),
            "What a step costs beside its pixels, learned (a in seconds = a + b x megapixels)",
        ),
        (
            "step_seconds_per_megapixel", "gauge", "seconds per megapixel", ("bundle",),
            "What each computed megapixel of a step adds, learned (b)",
        ),
        (
            "oom_splits_total", "counter", "splits", ("bundle",),
            "Batches or tiles that were halved because memory was short",
        ),
        (
            "device_memory_used_bytes", "gauge", "bytes", (),
            "Memory of the device that the engine holds; on a CPU the engine's own memory",
        ),
        (
            "device_memory_limit_bytes", "gauge", "bytes", (),
            "The most that the engine could hold now: what it holds, and what is free within its limits",
        ),
        ("batch_budget_megapixels", "gauge", "megapixels", ("bundle",), "Megapixels that a step may have at most"),
        (
            "model_load_seconds", "gauge", "seconds", ("bundle",),
            "Loading, golden image and memory probe of a bundle",
        ),
        ("engine_ready", "gauge", "0 or 1", (), "1 while the engine can work, else 0"),
        ("engine_restarts_total", "counter", "engines", (), "Engine processes that died and were replaced"),
        (
            "engine_recycles_total", "counter", "engines", ("reason",),
            "Engine processes that were replaced between jobs, by UNDEGRADE_MAX_JOBS or UNDEGRADE_MAX_RSS_GIB",
        ),
    ),
)  # fmt: skip

BY_NAME: dict[str, MetricSpec] = {spec.name: spec for spec in METRICS}


def of_process(process: Process) -> tuple[MetricSpec, ...]:
    """Returns the metrics of one process."""
    return tuple(spec for spec in METRICS if spec.process == process)
