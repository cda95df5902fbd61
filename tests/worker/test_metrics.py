"""The worker's metrics: their names, and labels with few values."""

import re
import time
from types import SimpleNamespace

from prometheus_client import generate_latest

from jobs.lease import Leased
from jobs.spec import LANES, JobSpec
from jobs.state import State
from worker.messages import BatchStepped
from worker.metrics import WorkerMetrics

BOUNDED = {"bundle", "lane", "outcome", "stage", "le", "reason"}


def spec(number):
    return JobSpec(id=f"{number:032x}", kind="noop", bundle="b", lane=LANES[number % 3], submitted_ms=0)


def worked(count):
    metrics = WorkerMetrics()
    for number in range(count):
        leased = Leased(spec=spec(number), attempts=1, deaths=0, run_alone=False, cancel=False)
        metrics.on_leased(leased)
        metrics.on_ended(leased.spec, list(State)[2 + number % 4], {"decode": 0.01, "restore": 1.0})
        metrics.on_batch(BatchStepped(bundle="b", images=number % 9, megapixels=0.1 * number, seconds=0.1, splits=1))
    return generate_latest(metrics.registry).decode()


def series(text):
    return {line.split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


def test_a_thousand_jobs_make_no_more_series_than_twelve():
    few, many = ({re.sub(r"_created.*", "", s) for s in series(worked(n))} for n in (12, 1000))
    assert few == many


def test_no_label_names_a_job_a_key_a_path_or_a_worker():
    labels = set(re.findall(r'[{,]([a-z_]+)="', worked(20)))
    assert labels <= BOUNDED


def test_jobs_stages_and_splits_are_counted():
    text = worked(8)
    assert 'undegrade_worker_jobs_leased_total{bundle="b",lane="interactive"} 3.0' in text
    assert 'undegrade_worker_jobs_ended_total{bundle="b",outcome="succeeded"} 2.0' in text
    assert 'undegrade_stage_seconds_count{bundle="b",stage="restore"} 8.0' in text
    assert 'undegrade_oom_splits_total{bundle="b"} 8.0' in text


def test_the_learned_cost_of_steps_is_exported():
    metrics = WorkerMetrics()
    metrics.on_batch(BatchStepped(bundle="b", images=1, megapixels=1, seconds=1, fixed_s=0.009, s_per_mp=0.02))
    text = generate_latest(metrics.registry).decode()
    assert 'undegrade_step_seconds_fixed{bundle="b"} 0.009' in text
    assert 'undegrade_step_seconds_per_megapixel{bundle="b"} 0.02' in text


def test_the_loading_time_of_a_bundle_is_exported():
    metrics = WorkerMetrics()
    metrics.on_loaded(SimpleNamespace(bundles=[SimpleNamespace(name="b", load_s=2.5, budget_mp=1.0)]))
    assert 'undegrade_model_load_seconds{bundle="b"} 2.5' in generate_latest(metrics.registry).decode()


def test_memory_and_budget_are_exported():
    metrics = WorkerMetrics(["b"])
    metrics.on_batch(BatchStepped(bundle="b", images=1, megapixels=1, seconds=1, memory_bytes=3, memory_limit_bytes=8))
    metrics.on_loaded(SimpleNamespace(bundles=[SimpleNamespace(name="b", load_s=2.5, budget_mp=12.5)]))
    text = generate_latest(metrics.registry).decode()
    assert "undegrade_device_memory_used_bytes 3.0" in text and "undegrade_device_memory_limit_bytes 8.0" in text
    assert 'undegrade_batch_budget_megapixels{bundle="b"} 12.5' in text


def test_counters_of_a_bundle_are_there_before_they_count():
    text = generate_latest(WorkerMetrics(["b"]).registry).decode()
    assert 'undegrade_oom_splits_total{bundle="b"} 0.0' in text
    assert 'undegrade_worker_jobs_ended_total{bundle="b",outcome="failed"} 0.0' in text
    assert 'undegrade_job_seconds_count{bundle="b",lane="bulk"} 0.0' in text


def test_the_seconds_of_a_job_count_from_its_submission_and_only_where_it_succeeded():
    metrics = WorkerMetrics()
    spec_of_a_minute = spec(0).model_copy(update={"submitted_ms": int(time.time() * 1000) - 50_000})
    metrics.on_ended(spec_of_a_minute, State.SUCCEEDED, {})
    metrics.on_ended(spec_of_a_minute, State.FAILED, {})
    text = generate_latest(metrics.registry).decode()
    assert 'undegrade_job_seconds_bucket{bundle="b",lane="interactive",le="30.0"} 0.0' in text
    assert 'undegrade_job_seconds_bucket{bundle="b",lane="interactive",le="60.0"} 1.0' in text
    assert 'undegrade_job_seconds_count{bundle="b",lane="interactive"} 1.0' in text
