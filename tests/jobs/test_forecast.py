"""Where a job stands and when it will have ended.  The oracle plays the queue out on a simulated clock."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_bench import BUNDLE, spec

from jobs import redis_keys
from jobs.device_backlog import backlog_device_s
from jobs.forecast import LineSnapshot, TakenJob, forecast, remaining_s
from jobs.record import Progress
from jobs.spec import LANES

NOW_MS, USUAL_S = 10**12, 4.0


def ends(workers: int) -> list[bytes]:
    """Jobs of USUAL_S seconds that `workers` workers ended, always at work."""
    length = int(USUAL_S * 1000)
    spans = [(NOW_MS - (n + 1) * length, NOW_MS - n * length) for n in range(5) for _ in range(workers)]
    return [f"{end} {start}".encode() for start, end in spans]


def running(elapsed_s: float, fraction: float = 0.0) -> TakenJob:
    started_ms = NOW_MS - int(elapsed_s * 1000)
    return TakenJob(id="r", lane="standard", enqueued_ms=1, started_ms=started_ms, fraction=fraction)


def held(job: str, lane="standard", enqueued_ms=1) -> TakenJob:
    return TakenJob(id=job, lane=lane, enqueued_ms=enqueued_ms)


def line(*taken: TakenJob, place=0, queued=(0, 1, 0), recent_ends=()) -> LineSnapshot:
    lanes = dict(zip(LANES, queued, strict=True))
    return LineSnapshot(now_ms=NOW_MS, place=place, queued=lanes, taken=taken, recent_ends=recent_ends)


@given(elapsed=st.lists(st.integers(0, 4), max_size=1), before=st.integers(0, 9))
def test_one_worker_ends_the_running_job_then_each_in_line(elapsed, before):
    clock_s = sum(USUAL_S - seconds for seconds in elapsed)
    for _ in range(before + 1):
        clock_s += USUAL_S
    snapshot = line(*map(running, elapsed), place=before, queued=(0, before + 1, 0), recent_ends=ends(workers=1))
    found = forecast("j", "standard", snapshot)
    assert (found.position, found.eta_s) == (before, clock_s)


@given(workers=st.integers(1, 8), rounds=st.integers(0, 5), elapsed_s=st.integers(0, 4))
def test_the_last_of_full_rounds_ends_with_its_round(workers, rounds, elapsed_s):
    """All workers are equally far, and the job is the last of a round that all of them begin together."""
    before = (rounds + 1) * workers - 1
    taken = [running(elapsed_s)] * workers
    found = forecast("j", "standard", line(*taken, place=before, recent_ends=ends(workers)))
    assert found.eta_s == pytest.approx(USUAL_S - elapsed_s + (rounds + 1) * USUAL_S)


@given(st.data())
def test_positions_number_the_waiting_jobs_without_gaps(data):
    lanes = data.draw(st.lists(st.sampled_from(LANES), max_size=6))
    queued = [data.draw(st.integers(0, 3)) for _ in LANES]
    taken = [held(str(number), lane, number) for number, lane in enumerate(lanes)] + [running(1)]
    positions = [
        forecast(entry.id, entry.lane, line(*taken, place=None, queued=queued)).position for entry in taken[:-1]
    ]
    for lane, count in zip(LANES, queued, strict=True):
        positions += [forecast("j", lane, line(*taken, place=n, queued=queued)).position for n in range(count)]
    assert sorted(positions) == list(range(len(lanes) + sum(queued)))


def test_held_jobs_begin_by_lane_and_then_by_arrival():
    taken = [
        held("late", "standard", 3),
        held("bulk", "bulk", 1),
        held("early", "standard", 2),
        held("urgent", "interactive", 9),
    ]
    order = sorted((forecast(entry.id, entry.lane, line(*taken, place=None)).position, entry.id) for entry in taken)
    assert [job for _, job in order] == ["urgent", "early", "late", "bulk"]


def test_a_job_that_runs_or_has_ended_has_no_forecast():
    assert forecast("r", "standard", line(running(1), place=None, recent_ends=ends(1))) is None
    assert forecast("gone", "standard", line(place=None)) is None


@pytest.mark.parametrize("recent_ends", [(), (b"x",)])
def test_before_a_job_has_ended_the_eta_is_unknown(recent_ends):
    assert forecast("j", "standard", line(running(1), recent_ends=recent_ends)).eta_s is None


@pytest.mark.parametrize(
    ("elapsed_s", "fraction", "left_s"),
    [
        (0.0, 0.0, 4.0),
        (1.0, 0.0, 3.0),  # no step yet: the usual seconds
        (1.0, 0.5, 1.0),  # faster than usual
        (1.0, 0.1, 3.0),  # of many possible passes
        (6.0, 0.0, 0.0),  # late, and nothing is known
        (6.0, 0.5, 6.0),  # a large image: its own pace
        (6.0, 1.0, 0.0),
        (6.0, 1.5, 0.0),
    ],
)
def test_what_a_running_job_still_needs(elapsed_s, fraction, left_s):
    assert remaining_s(elapsed_s, fraction, USUAL_S) == pytest.approx(left_s)


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1e6))
def test_what_a_running_job_needs_is_never_negative(elapsed_s, fraction, usual_s):
    assert remaining_s(elapsed_s, fraction, usual_s) >= 0


def test_the_queue_reads_the_whole_line_at_one_moment(run):
    async def scenario(bench):
        first, second, third = await bench.submit("standard", "standard", "interactive")
        late = spec("bulk")
        await bench.queue.submit(late, 99)
        assert [(await bench.queue.forecast(job)).position for job in (third, first, second, late)] == [0, 1, 2, 3]
        await bench.lease(2, lanes=["standard"])
        assert [(await bench.queue.forecast(job)).position for job in (first, second, third, late)] == [0, 1, 2, 3]
        await bench.begin(first)
        assert await bench.queue.forecast(first) is None
        assert [(await bench.queue.forecast(job)).position for job in (second, third, late)] == [0, 1, 2]
        now_ms = await bench.queue.now_ms()
        await bench.redis.rpush(redis_keys.RECENT_ENDS + BUNDLE, f"{now_ms} {now_ms - 1000_000}")
        eta_s = (await bench.queue.forecast(second)).eta_s
        assert eta_s == pytest.approx(2000, abs=130), "almost all of the job that runs, and itself"
        await bench.queue.report("a", first.id, Progress(fraction=0.999))
        assert (await bench.queue.forecast(second)).eta_s == pytest.approx(1000, abs=130)

    run(scenario)


@given(
    copies=st.lists(st.integers(1, 5), min_size=1, max_size=6), starts=st.lists(st.booleans(), min_size=6, max_size=6),
    elapsed_s=st.integers(0, 9),
)  # fmt: skip
def test_a_job_that_stands_for_others_counts_as_often(copies, starts, elapsed_s):
    entries = [
        replace(running(elapsed_s, 0.3), id=str(number)) if started else held(str(number), enqueued_ms=number)
        for number, (started, _) in enumerate(zip(starts, copies, strict=False))
    ]
    few = [replace(entry, stands_for=count) for entry, count in zip(entries, copies, strict=True)]
    many = [entry for entry, count in zip(entries, copies, strict=True) for _ in range(count)]
    known = [entry + b" 2000" for entry in ends(3)]  # with the work of each
    found, expected = (forecast("j", "standard", line(*taken, place=2, recent_ends=known)) for taken in (few, many))
    assert found.position == expected.position and found.eta_s == pytest.approx(expected.eta_s, abs=0.11)
    found_s, expected_s = (backlog_device_s(line(*taken, recent_ends=known)) for taken in (few, many))
    assert found_s == pytest.approx(expected_s)


def test_of_many_jobs_that_workers_hold_some_are_read_and_stand_for_all(run):
    """A look at each of the 24,000 jobs that 1,000 workers hold would take Redis a quarter of a second."""
    taken = 4 * redis_keys.MAX_TAKEN_COUNTED + 7

    async def scenario(bench):
        jobs = [spec(id=f"{number:032x}") for number in range(taken + 1)]
        for job in jobs:
            await bench.queue.submit(job, 10**6)
        leased = await bench.lease(taken)
        waiting = next(job for job in jobs if job.id not in leased)
        for job in leased[: taken // 2]:
            await bench.begin(spec(id=job))
        snapshot = await bench.queue.line(BUNDLE)
        assert len(snapshot.taken) == redis_keys.MAX_TAKEN_COUNTED
        assert sum(entry.stands_for for entry in snapshot.taken) == pytest.approx(taken)
        position = (await bench.queue.forecast(waiting)).position
        assert position == pytest.approx(taken - taken // 2, abs=taken / redis_keys.MAX_TAKEN_COUNTED)
        held_jobs = leased[taken // 2 :]
        positions = [(await bench.queue.forecast(spec(id=job))).position for job in held_jobs]
        assert all(0 <= place < position + 5 for place in positions), "each knows its place, read or not"
        assert await bench.queue.forecast(spec(id=leased[0])) is None, "it runs"

    run(scenario)
