"""When an engine is replaced between jobs: arithmetic on a counter, a memory reading and a clock."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.recycling import CHECK_S, RecycleLimits, Recycling

GIB = 2**30


@dataclass
class Child:
    """The memory of a child, and how often it was read."""

    held_bytes: int | None = GIB
    reads: int = 0

    def memory_bytes(self):
        self.reads += 1
        return self.held_bytes


class Bench:
    def __init__(self, **limits):
        self.child, self.now_s = Child(), 0.0
        self.recycling = Recycling(RecycleLimits(**limits), self.child, lambda: self.now_s)

    def due(self):
        self.now_s += CHECK_S
        return self.recycling.due()


@given(st.integers(1, 50), st.integers(0, 100))
def test_an_engine_is_due_after_its_jobs_and_a_fresh_one_counts_from_zero(limit, jobs):
    bench = Bench(max_jobs=limit)
    for _ in range(2):
        for _ in range(jobs):
            bench.recycling.on_job()
        assert bench.due() == (jobs >= limit)
        assert bench.recycling.reason == ("jobs" if jobs >= limit else "")
        bench.recycling.on_ready()
    assert bench.child.reads == 0, "nobody asks for the memory without a limit of it"


def test_without_limits_an_engine_is_never_due():
    bench = Bench()
    for _ in range(1000):
        bench.recycling.on_job()
    bench.child.held_bytes = 2**50
    assert not bench.due()


def test_an_engine_that_has_grown_is_due_and_stays_so():
    bench = Bench(max_rss_gib=2.0)
    assert not bench.due()
    bench.child.held_bytes = 3 * GIB
    assert not bench.due(), "it has not done a job yet"
    bench.recycling.on_job()
    assert bench.due()
    assert "3.0 GiB of 2 (UNDEGRADE_MAX_RSS_GIB)" in bench.recycling.why
    bench.child.held_bytes = GIB
    assert bench.due(), "memory that was given back may be taken again"


@pytest.mark.parametrize("loaded", [2 * GIB, 5 * GIB])
def test_a_limit_below_what_the_engine_needs_to_load_is_ignored(loaded):
    """Otherwise it would be replaced after each job for ever."""
    bench = Bench(max_rss_gib=2.0, max_jobs=3)
    bench.child.held_bytes = loaded
    for _ in range(2):
        bench.recycling.on_job()
        assert not bench.due()
    bench.recycling.on_job()
    assert bench.due() and bench.recycling.reason == "jobs", "the other limit still counts"


def test_the_memory_is_read_once_a_second_and_an_ended_child_has_none():
    bench = Bench(max_rss_gib=2.0)
    bench.child.held_bytes = None
    for _ in range(100):
        bench.now_s += CHECK_S / 10
        assert not bench.recycling.due()
    assert 9 <= bench.child.reads <= 11
