"""Seconds per job from simulated histories.  The oracle counts busy milliseconds one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.drain_rate import seconds_per_job

SPANS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), min_size=1, max_size=12)


def history(*spans: tuple[int, int]) -> list[bytes]:
    return [f"{end} {start}".encode() for start, end in spans]


@given(spans=SPANS)
def test_the_rate_is_the_busy_time_by_job(spans):
    jobs = [(start, start + length) for start, length in spans]
    busy_ms = sum(any(start <= ms < end for start, end in jobs) for ms in range(400))
    assert seconds_per_job(history(*jobs)) == pytest.approx(busy_ms / 1000 / len(jobs))


@given(spans=SPANS, idle_ms=st.integers(400, 10**9))
def test_idle_time_between_two_days_of_work_changes_nothing(spans, idle_ms):
    jobs = [(start, start + length) for start, length in spans]
    next_day = [(start + idle_ms, end + idle_ms) for start, end in jobs]
    assert seconds_per_job(history(*jobs, *next_day)) == pytest.approx(seconds_per_job(history(*jobs)))


def test_three_jobs_of_four_seconds_with_an_idle_hour_before_each_take_four_seconds():
    hour_ms = 3_600_000
    jobs = [(n * hour_ms, n * hour_ms + 4000) for n in range(3)]
    assert seconds_per_job(history(*jobs)) == 4.0


def test_the_work_counts_where_no_start_was_reported():
    assert seconds_per_job([b"10000 10000 4000"]) == seconds_per_job([b"10000 6000 0"]) == 4.0


def test_two_workers_halve_the_seconds():
    assert seconds_per_job(history((0, 4000), (0, 4000))) == 2.0


@pytest.mark.parametrize("entries", [[], [b"1764200000000 1"], [b"1764200000000 0.262"], [b""], [b"x y"]])
def test_without_an_entry_of_this_version_the_rate_is_unknown(entries):
    assert seconds_per_job(entries) is None
