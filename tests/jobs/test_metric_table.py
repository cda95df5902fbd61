"""The table of metrics: Prometheus' naming rules, docs/metrics.md, and the labels' bounds."""

import re
import runpy
from pathlib import Path

import pytest

from jobs.metric_table import BY_NAME, FAILURE_CODES, LABELS, METRICS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
UNIT_WORDS = {"seconds": "_seconds", "seconds since 1970": "_timestamp_seconds", "bytes": "_bytes"}
NOT_BASE_UNITS = re.compile(
    r"_(ms|msec|milliseconds|minutes|hours|days|kb|mb|gb|kib|mib|gib|kilobytes|megabytes|gigabytes|percent)(_|$)"
)


def test_a_name_is_used_once():
    assert len(BY_NAME) == len(METRICS)


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_a_metric_follows_the_conventions(spec):
    """prometheus.io/docs/practices/naming: prefix, base units, the unit last, _total for counters, no colons."""
    assert re.fullmatch(r"undegrade(_[a-z]+)+", spec.name)
    assert (spec.kind == "counter") == spec.name.endswith("_total")
    assert not re.search(r"_(count|sum|bucket|info|created)$", spec.family), "reserved for the parts of other metrics"
    assert not NOT_BASE_UNITS.search(spec.name)
    if spec.unit in UNIT_WORDS:
        assert spec.family.endswith(UNIT_WORDS[spec.unit])
    assert (spec.kind == "histogram") == bool(spec.buckets)
    assert list(spec.buckets) == sorted(set(spec.buckets))
    assert set(spec.labels) <= LABELS.keys()
    assert spec.help[0].isupper() or spec.help[0].isdigit()
    assert not spec.help.endswith(".")


def test_the_page_is_what_the_table_generates():
    updated = runpy.run_path(str(ROOT / "docs" / "make_metrics.py"))["updated"]
    text = PAGE.read_text()
    assert updated(text) == text, "run `make metrics-page`"


def test_a_page_with_another_row_is_noticed():
    updated = runpy.run_path(str(ROOT / "docs" / "make_metrics.py"))["updated"]
    text = PAGE.read_text().replace("| `undegrade_redis_up` | gauge", "| `undegrade_redis_up` | counter")
    assert updated(text) != text


def test_the_codes_of_failures_are_those_of_the_api_page():
    section = (ROOT / "docs" / "api.md").read_text().partition("| code of a job's error |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`([a-z-]+)`", "\n".join(row.split("|")[1] for row in section.splitlines()[2:])))
    assert documented == FAILURE_CODES
