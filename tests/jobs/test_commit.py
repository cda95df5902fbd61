"""Reporting on and ending jobs: only the holder of a lease may, and a cancel wins."""

from dataclasses import replace

import pytest
from queue_bench import BUNDLE, finished

from jobs import redis_keys
from jobs.blob_store import Blob
from jobs.queue import Event
from jobs.record import Failure, Outcome, Progress
from jobs.state import State


def test_another_token_can_neither_commit_nor_report_nor_renew_nor_release(run):
    async def scenario(bench):
        job = await bench.running("a")
        before = await bench.keyspace()
        assert await bench.commit(job, token="b") is None
        assert not await bench.queue.report("b", job.id, Progress(fraction=0.5))
        assert await bench.queue.renew("b", [job.id]) == {job.id: "lost"}
        assert await bench.queue.release("b", [job.id], died=True) == {job.id: "lost"}
        assert await bench.keyspace() == before

    run(scenario)


def test_a_worker_that_lost_the_lease_changes_nothing(run):
    async def scenario(bench):
        job = await bench.running("a")
        await bench.end_lease(job)
        await bench.queue.reclaim()
        assert await bench.commit(job, token="a") is None, "while it is queued"
        assert await bench.lease(token="b") == [job.id]
        assert await bench.commit(job, token="a") is None, "while another has it"
        assert await bench.queue.renew("a", [job.id]) == {job.id: "lost"}
        assert await bench.commit(job, token="b") is State.SUCCEEDED

    run(scenario)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED])
def test_a_job_ends_once(run, state):
    async def scenario(bench):
        job = await bench.running()
        outcome = Outcome(failure=Failure(code="some", detail="reason")) if state is State.FAILED else Outcome(seed=7)
        assert await bench.commit(job, state, outcome=outcome, keep_s=60) is state
        before = await bench.keyspace()
        assert await bench.commit(job, State.FAILED) is None
        assert not await bench.queue.report("a", job.id, Progress(fraction=0.1))
        assert await bench.queue.release("a", [job.id], died=True) == {job.id: "lost"}
        assert await bench.keyspace() == before
        record = await bench.queue.record(job.id)
        kept = Outcome() if state is State.CANCELED else outcome  # DELETE cancels, and leaves nothing of the content
        assert (record.state, record.outcome) == (state, kept)
        ended = {"succeeded": "completed", "failed": "failed", "canceled": "canceled", "expired": "expired"}[state]
        assert await bench.event_types(job) == ["queued", "started", ended]
        assert (await bench.queue.counters.read())[f"ended:{BUNDLE}:{state}"] == 1

    run(scenario)


def test_failures_are_counted_by_the_code_of_their_error(run):
    async def scenario(bench):
        jobs = await bench.submit(*["standard"] * 4)
        await bench.lease(4)
        for job, code in zip(jobs, ("bad-image", "bad-image", "out-of-memory"), strict=False):
            await bench.commit(job, State.FAILED, outcome=Outcome(failure=Failure(code=code, detail="why")))
        await bench.commit(jobs[3], State.SUCCEEDED)
        counters = await bench.queue.counters.read()
        failed = {name: count for name, count in counters.items() if name.startswith("failed:")}
        assert failed == {f"failed:{BUNDLE}:bad-image": 2, f"failed:{BUNDLE}:out-of-memory": 1}

    run(scenario)


def test_a_commit_answers_for_each_job_in_its_order(run):
    async def scenario(bench):
        jobs = await bench.submit(*["standard"] * 3)
        await bench.lease(2)
        rows = [finished(job) for job in reversed(jobs)]
        assert await bench.queue.commit("a", rows) == [None, State.SUCCEEDED, State.SUCCEEDED]
        assert await bench.queue.commit("a", []) == []

    run(scenario)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
@pytest.mark.parametrize("canceled", [True, False])
def test_a_commit_that_is_sent_again_answers_as_before_and_changes_nothing(run, state, canceled):
    """Its reply was lost.  Without the fence, the worker takes its own success for a lost lease."""

    async def scenario(bench):
        job = await bench.running("a")
        if canceled:
            await bench.queue.cancel(job.id)
        ours = replace(finished(job, state, blob=Blob("a/result", b"pixels", 60)), fence="first")
        (answer,) = await bench.queue.commit("a", [ours])
        assert answer is (State.CANCELED if canceled else state)
        before = await bench.keyspace()
        assert await bench.queue.commit("a", [ours]) == [answer]
        assert await bench.queue.commit("a", [replace(ours, fence="another attempt")]) == [None]
        assert await bench.queue.commit("b", [replace(ours, fence=None)]) == [None]
        assert await bench.keyspace() == before

    run(scenario)


@pytest.mark.parametrize("fate", ["ours", "lost", "canceled"])
def test_a_result_is_stored_with_its_commit_and_only_where_the_commit_counts(run, fate):
    async def scenario(bench):
        job = await bench.running(token="a")
        if fate == "lost":
            await bench.queue.release("a", [job.id], died=False)
        elif fate == "canceled":
            await bench.queue.cancel(job.id)
        await bench.queue.commit("a", [finished(job, blob=Blob("a/result", b"pixels", 60))])
        kept = await bench.redis.get(redis_keys.BLOB + "a/result")
        assert kept == (b"pixels" if fate == "ours" else None)

    run(scenario)


def test_a_renewed_lease_ends_later(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.redis.zadd(redis_keys.LEASES, {job.id: 1})
        assert await bench.queue.renew("a", [job.id, "unknown"]) == {job.id: "ok", "unknown": "lost"}
        assert await bench.queue.reclaim() == {}
        assert await bench.queue.renew("a", []) == {}

    run(scenario)


def test_progress_and_the_outcome_so_far_are_published(run):
    async def scenario(bench):
        job = await bench.running()
        at, found = Progress(fraction=0.25, step=1, steps=4), Outcome(degradations={"rain": 0.5})
        event = Event(id="", type="step.progress", data=at.model_dump())
        assert await bench.queue.report("a", job.id, at, found, event)
        record = await bench.queue.record(job.id)
        assert (record.progress, record.outcome) == (at, found)
        last = (await bench.queue.events(job.id))[-1]
        assert (last.type, last.data) == ("step.progress", at.model_dump())

    run(scenario)


def test_a_queued_job_is_canceled_at_once(run):
    async def scenario(bench):
        job, other = await bench.submit("standard", "standard")
        assert await bench.queue.cancel(job.id, keep_s=60) is State.QUEUED
        record = await bench.queue.record(job.id)
        assert record.state is State.CANCELED
        assert record.expires_ms - record.ended_ms <= 60_000
        assert await bench.event_types(job) == ["queued", "canceled"]
        assert await bench.queue.forecast(job) is None
        assert await bench.lease(9) == [other.id]
        assert await bench.redis.zscore(f"{redis_keys.RQ_CANCELED}{job.queue}", job.id) is not None
        assert await bench.queue.cancel(job.id) is State.CANCELED, "a second cancel changes nothing"
        assert await bench.event_types(job) == ["queued", "canceled"]

    run(scenario)


def test_the_worker_of_a_canceled_job_learns_of_it_with_its_renewal(run):
    async def scenario(bench):
        job = await bench.running()
        assert await bench.queue.cancel(job.id) is State.RUNNING
        record = await bench.queue.record(job.id)
        assert (record.state, record.cancel) == (State.RUNNING, True)
        assert await bench.queue.renew("a", [job.id]) == {job.id: "cancel"}

    run(scenario)


def test_a_cancel_wins_over_the_success_that_comes_after_it(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.cancel(job.id)
        assert await bench.commit(job, State.SUCCEEDED, outcome=Outcome(seed=7)) is State.CANCELED
        record = await bench.queue.record(job.id)
        assert (record.state, record.outcome) == (State.CANCELED, Outcome())
        assert await bench.event_types(job) == ["queued", "started", "canceled"]

    run(scenario)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_a_cancel_does_not_change_a_job_that_has_ended(run, state):
    async def scenario(bench):
        job = await bench.running()
        await bench.commit(job, state)
        before = await bench.keyspace()
        assert await bench.queue.cancel(job.id) is state
        assert await bench.keyspace() == before

    run(scenario)


def test_an_unknown_job_cannot_be_canceled(run):
    async def scenario(bench):
        assert await bench.queue.cancel("0" * 32) is None
        assert await bench.keyspace() == {}

    run(scenario)


def test_an_earlier_attempt_cannot_end_the_next_lease_of_its_worker(run):
    """Its lease ended while Redis was away, and its pictures went with that."""

    async def scenario(bench):
        (job,) = await bench.submit("standard")
        first = await bench.lease_one()
        await bench.end_lease(job)
        assert await bench.queue.reclaim() == {job.id: "queued"}
        second = await bench.lease_one()
        numbers = [first.number, second.number]
        assert await bench.queue.renew("a", [job.id], {job.id: first.number}) == {job.id: "lost"}
        assert not await bench.queue.report("a", job.id, Progress(), number=first.number)
        early, late = [finished(job, fence=f"{number}", number=number) for number in numbers]
        assert await bench.queue.commit("a", [early]) == [None]
        assert await bench.queue.commit("a", [late]) == [State.SUCCEEDED]

    run(scenario)
