"""What jobs cost, learned from their ends: costs that are known before must be found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_bench import BUNDLE, MANY, finished, spec

from jobs import redis_keys
from jobs.cost_model import JobCost, learn, recent_costs
from jobs.record import Outcome, PassRecord
from jobs.spec import Source
from jobs.state import State

seconds, sizes = st.floats(0.001, 5), st.lists(st.floats(0.05, 50), min_size=3, max_size=40)


def cost(megapixels, fixed_s, s_per_mp, passes=2, steps=10, **fields):
    work_s = passes * steps * (fixed_s + s_per_mp * megapixels)
    values = {"kind": "restore", "run_s": work_s + 0.25, **fields}
    return JobCost(megapixels=megapixels, passes=passes, steps=steps, work_s=work_s, **values)


@given(fixed_s=seconds, s_per_mp=seconds, megapixels=sizes, asked=st.floats(0.05, 50))
def test_costs_that_follow_the_model_are_found_again(fixed_s, s_per_mp, megapixels, asked):
    known = [cost(size, fixed_s, s_per_mp) for size in [*megapixels, 0.05, 50]]
    model = learn(known, "restore")
    assert model is not None and model.jobs == len(known)
    assert model.device_s(asked) == pytest.approx(cost(asked, fixed_s, s_per_mp).work_s, rel=1e-3)
    assert model.overhead_s == pytest.approx(0.25)


@given(fixed_s=seconds, s_per_mp=seconds)
def test_fewer_passes_and_more_steps_cost_in_proportion(fixed_s, s_per_mp):
    model = learn([cost(size, fixed_s, s_per_mp) for size in (0.1, 1, 12)], "restore")
    whole = model.device_s(1)
    assert model.device_s(1, max_passes=1) == pytest.approx(whole / 2)
    assert model.device_s(1, max_passes=9) == pytest.approx(whole)
    assert model.device_s(1, steps=30) == pytest.approx(3 * whole)


@given(st.lists(st.tuples(st.floats(0.01, 50), st.floats(0.001, 1000)), min_size=1, max_size=60))
def test_an_estimate_is_never_negative_and_never_shrinks_with_the_size(points):
    known = [
        JobCost(kind="restore", megapixels=mp, passes=1, steps=1, work_s=work_s, run_s=work_s) for mp, work_s in points
    ]
    model = learn(known, "restore")
    estimates = [model.device_s(mp) for mp in (0.01, 0.1, 1, 10, 50)]
    assert estimates[0] >= 0 and estimates == sorted(estimates)


def test_jobs_of_one_size_count_as_pixels_and_another_kind_teaches_nothing():
    known = [cost(2, 0.1, 0.2), cost(2, 0.1, 0.2)]
    assert learn(known, "restore").device_s(4) == pytest.approx(2 * known[0].work_s)
    assert learn(known, "detect") is None and learn([], "restore") is None


def test_ended_jobs_are_noted_with_size_passes_and_seconds_but_no_failures_and_none_that_must_not_be_stored(run):
    async def scenario(bench):
        passes = tuple(PassRecord(label="noise", source="auto", probability_before=0.9) for _ in range(3))
        for state, store in ((State.SUCCEEDED, True), (State.FAILED, True), (State.SUCCEEDED, False)):
            job = spec(kind="restore", store=store)
            source = Source(
                blob=f"{job.id}/input", bytes=1, sha256="", format="png", width_px=2000, height_px=1500
            )  # fmt: skip
            job = job.model_copy(update={"source": source})
            await bench.queue.submit(job, MANY)
            await bench.lease()
            await bench.begin(job)
            end = finished(job, state, Outcome(passes=passes, steps=20))
            await bench.queue.commit("a", [type(end)(**{**vars(end), "work_s": 1.5})])
        (noted,) = await recent_costs(bench.redis, BUNDLE)
        assert (noted.kind, noted.megapixels, noted.passes, noted.steps, noted.work_s) == ("restore", 3.0, 3, 20, 1.5)

    run(scenario)


def test_entries_of_another_form_are_left_out_and_the_list_stays_short(run):
    async def scenario(bench):
        await bench.redis.rpush(redis_keys.COSTS + BUNDLE, "x", "restore 1 2", b"\xff", "restore 1 1 1 -5 2 9", "")
        assert await recent_costs(bench.redis, BUNDLE) == []

    run(scenario)
