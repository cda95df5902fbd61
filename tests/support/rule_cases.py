"""For each alert: series with which it fires, and series that look alike with which it does not, for `promtool test`.

Values are promtool's: `a+bxn` is a and n further values, each b more; one value a minute.
"""

from dataclasses import dataclass, field

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """`at` is the minute at which `fires` must fire and `quiet` must not."""

    fires: Series
    quiet: Series
    at: int
    also: list[Series] = field(default_factory=list)  # further series with which it fires


def requests(good: str, bad: str, code: str = "503", route: str = "POST /restore") -> Series:
    return {
        f'undegrade_requests_total{{route="{route}",code="202"}}': good,
        f'undegrade_requests_total{{route="{route}",code="{code}"}}': bad,
    }


def jobs(succeeded: str, failed: str, code: str = "engine-error") -> Series:
    """Two API replicas that export the same counters."""
    return {
        key: value
        for instance in "ab"
        for key, value in (
            (f'undegrade_jobs_ended_total{{instance="{instance}",bundle="b",outcome="succeeded"}}', succeeded),
            (f'undegrade_jobs_ended_total{{instance="{instance}",bundle="b",outcome="failed"}}', failed),
            (f'undegrade_jobs_failed_total{{instance="{instance}",bundle="b",code="{code}"}}', failed),
        )
    }


def histogram(name: str, lane: str, target: str, within: str, all_of_them: str) -> Series:
    """A histogram with one bound, the target, and one above it."""
    labels = f'bundle="b",lane="{lane}"'
    return {
        f'{name}_bucket{{{labels},le="{target}"}}': within,
        f'{name}_bucket{{{labels},le="7200.0"}}': all_of_them,
        f'{name}_bucket{{{labels},le="+Inf"}}': all_of_them,
        f"{name}_count{{{labels}}}": all_of_them,
    }


def queue(ready: str, queued: str, in_flight: str = "0+0x30") -> Series:
    return {
        'undegrade_workers_ready{instance="a",bundle="b"}': ready,
        'undegrade_jobs_queued{instance="a",bundle="b",lane="bulk"}': queued,
        'undegrade_jobs_in_flight{instance="a",bundle="b"}': in_flight,
    }


WORKER = '{job="undegrade-worker",instance="w:9100"}'


def attempts(delivered: str, retried: str) -> Series:
    """Two API replicas that export the same counters."""
    return {
        f'undegrade_webhook_attempts_total{{instance="{instance}",outcome="{outcome}"}}': values
        for instance in "ab"
        for outcome, values in (("delivered", delivered), ("retried", retried), ("failed", "0+0x30"))
    }


STORE_FREE = "undegrade_store_free_bytes"
START = "undegrade_worker_oldest_job_start_timestamp_seconds"

CASES: dict[str, Case] = {
    "UndegradeApiDown": Case(
        {'up{job="undegrade-api",instance="a"}': "1+0x5 0+0x10"},
        {'up{job="undegrade-api",instance="a"}': "0+0x15", 'up{job="ns/undegrade-api",instance="b"}': "1+0x15"},
        at=10, also=[{}],
    ),
    "UndegradeWorkerDown": Case(
        {f"up{WORKER}": "1+0x3 0+0x10"}, {f"up{WORKER}": "1+0x3 0 1+0x10"}, at=10,
        also=[{
            f"up{WORKER}": "1+0x15", f"undegrade_worker_last_tick_timestamp_seconds{WORKER}": "0+60x3 180+0x12",
        }],
    ),
    "UndegradeWorkerLost": Case(
        {"undegrade_leases_expired_total": "4+0x5 6+0x10"}, {"undegrade_leases_expired_total": "6+0x15"}, at=10
    ),
    "UndegradeNoWorkerReady": Case(
        queue("0+0x15", "3+0x15"), queue("0+0x15", "0+0x15"), at=10, also=[queue("0+0x15", "0+0x15", "2+0x15")]
    ),
    "UndegradeEngineCrashLoop": Case(
        {f"undegrade_engine_restarts_total{WORKER}": "0+0x5 1+1x4 5+0x5"},
        {f"undegrade_engine_restarts_total{WORKER}": "0+0x5 1+0x10"},
        at=10,
    ),
    "UndegradeClockSkew": Case(
        {f"undegrade_worker_clock_skew_seconds{WORKER}": "-30+0x10"},
        {f"undegrade_worker_clock_skew_seconds{WORKER}": "-1.5+0x10"},
        at=9, also=[{'undegrade_api_clock_skew_seconds{instance="a"}': "3+0x10"}],
    ),
    "UndegradeRedisDown": Case(
        {'undegrade_redis_up{instance="a"}': "1+0x10", 'undegrade_redis_up{instance="b"}': "1+0x3 0+0x10"},
        {'undegrade_redis_up{instance="a"}': "1+0x3 0 1+0x10"},
        at=8,
    ),
    "UndegradeStoreFull": Case(
        {STORE_FREE: "50000000-10000000x5 0+0x10"}, {STORE_FREE: "40000000+0x15"}, at=8,
        also=[{'undegrade_jobs_failed_total{bundle="b",code="storage-full"}': "0+0x4 1+1x10"}],
    ),
    "UndegradeStoreNearlyFull": Case(
        {"undegrade_store_free_ratio": "0.1+0x25"}, {"undegrade_store_free_ratio": "0.2+0x25"}, at=20
    ),
    "UndegradeDeviceMemoryShort": Case(
        {f'undegrade_oom_splits_total{{bundle="b",{WORKER[1:]}': "0+0x3 2+2x15"},
        {f'undegrade_oom_splits_total{{bundle="b",{WORKER[1:]}': "0+0x3 1+0x15"},
        at=15, also=[{'undegrade_jobs_failed_total{bundle="b",code="out-of-memory"}': "0+0x5 1+0x12"}],
    ),
    "UndegradeErrorRateHigh": Case(requests("0+90x20", "0+10x20"), requests("0+99x20", "0+1x20"), at=12),
    "UndegradeJobP95OverTarget": Case(
        histogram("undegrade_job_seconds", "standard", "300.0", "0+9x30", "0+10x30"),
        histogram("undegrade_job_seconds", "standard", "300.0", "0+99x30", "0+100x30"),
        at=20,
    ),
    "UndegradeQueueGrowing": Case(
        {**queue("2+0x30", "5+5x30"), "undegrade_backlog_device_seconds": "500+50x30"},
        {**queue("2+0x30", "90-1x30"), "undegrade_backlog_device_seconds": "1500-10x30"},
        at=25,
    ),
    "UndegradeJobStuck": Case(
        {f"{START}{WORKER}": "0+0x5 300+0x40"}, {f"{START}{WORKER}": "0+0x5 300+0x10 900+0x10 1500+0x25"}, at=40
    ),
    "UndegradeWebhooksFailing": Case(
        attempts("0+1x30", "0+3x30"), attempts("0+3x30", "0+1x30"), at=20,
        also=[{"undegrade_delivery_overdue_seconds": "0+60x30"}],
    ),
    "UndegradeRequestErrorBudgetBurn": Case(
        requests("0+95x20", "0+5x20"), requests("0+9995x20", "0+5x20"), at=15
    ),
    "UndegradeJobErrorBudgetBurn": Case(
        jobs("0+8x20", "0+2x20"), jobs("0+8x20", "0+2x20", code="bad-image"), at=15
    ),
    "UndegradeJobLatencyBudgetBurn": Case(
        histogram("undegrade_job_seconds", "interactive", "30.0", "0+2x20", "0+10x20"),
        histogram("undegrade_job_seconds", "interactive", "30.0", "0+6x20", "0+10x20"),
        at=15,
    ),
    "UndegradeQueueWaitBudgetBurn": Case(
        histogram("undegrade_queue_wait_seconds", "bulk", "1800.0", "0+2x20", "0+10x20"),
        histogram("undegrade_queue_wait_seconds", "bulk", "1800.0", "0+6x20", "0+10x20"),
        at=15,
    ),
}  # fmt: skip
