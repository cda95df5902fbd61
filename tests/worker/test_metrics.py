"""The worker's metrics: what an operator scales and alerts on, with labels that cannot grow."""

import re
from dataclasses import dataclass, field
from types import SimpleNamespace

from prometheus_client import generate_latest

from jobs.queue import Leased
from jobs.record import State
from jobs.spec import LANES, JobSpec
from worker.messages import Turned
from worker.metrics import WorkerMetrics

BOUNDED = {"bundle", "lane", "outcome", "stage", "le"}


@dataclass
class Run:
    spec: JobSpec
    seconds: dict = field(default_factory=lambda: {"decode": 0.01, "restore": 1.0})


def spec(number):
    return JobSpec(id=f"{number:032x}", kind="noop", bundle="b", lane=LANES[number % 3], submitted_ms=0)


def worked(count):
    metrics = WorkerMetrics()
    for number in range(count):
        leased = Leased(spec=spec(number), attempts=1, deaths=0, alone=False, cancel=False)
        metrics.took(leased)
        metrics.ended(Run(leased.spec), list(State)[2 + number % 4])
        metrics.turned(Turned(bundle="b", images=number % 9, megapixels=0.1 * number, seconds=0.1, splits=1))
    return generate_latest(metrics.registry).decode()


def series(text):
    return {line.split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


def test_a_thousand_jobs_make_no_more_series_than_twelve():
    few, many = ({re.sub(r"_created.*", "", s) for s in series(worked(n))} for n in (12, 1000))
    assert few == many


def test_no_label_is_a_job_a_key_a_path_or_a_worker():
    labels = set(re.findall(r'[{,]([a-z_]+)="', worked(20)))
    assert labels <= BOUNDED


def test_jobs_stages_and_splits_are_counted():
    text = worked(8)
    assert 'undegrade_jobs_taken_total{bundle="b",lane="interactive"} 3.0' in text
    assert 'undegrade_jobs_ended_total{bundle="b",outcome="succeeded"} 2.0' in text
    assert 'undegrade_stage_seconds_count{bundle="b",stage="restore"} 8.0' in text
    assert 'undegrade_oom_splits_total{bundle="b"} 8.0' in text


def test_the_engine_that_has_loaded_says_how_long_it_took():
    metrics = WorkerMetrics()
    metrics.loaded(SimpleNamespace(bundles=[SimpleNamespace(name="b", load_s=2.5)]))
    assert 'undegrade_model_load_seconds{bundle="b"} 2.5' in generate_latest(metrics.registry).decode()
