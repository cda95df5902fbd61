"""Released and reclaimed jobs: jobs whose worker stops, or whose engine or worker died."""

import asyncio

import pytest
from queue_bench import BUNDLE, QueueBench, spec

from jobs import redis_keys
from jobs.blob_store import RedisStore
from jobs.record import Failure, Outcome, Progress
from jobs.spec import LANES
from jobs.state import State


@pytest.mark.parametrize("died", [True, False])
def test_a_canceled_job_ends_when_it_is_released(run, died):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.cancel(job.id)
        assert await bench.queue.release("a", [job.id], died=died) == {job.id: "canceled"}
        assert await bench.state(job) is State.CANCELED
        assert await bench.lease(9) == []

    run(scenario)


def test_a_canceled_job_of_a_dead_worker_ends_when_it_is_reclaimed(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.cancel(job.id)
        await bench.end_lease(job)
        assert await bench.queue.reclaim() == {job.id: "canceled"}
        assert await bench.state(job) is State.CANCELED

    run(scenario)


@pytest.mark.parametrize("deadline_ms", [1, 2**52, None])
@pytest.mark.parametrize("canceled", [True, False])
def test_without_any_worker_only_jobs_end_that_are_canceled_or_past_their_deadline(run, deadline_ms, canceled):
    async def scenario(bench):
        others = [await bench.running() for _ in range(3)]  # their leases end before
        job = spec(deadline_ms=2**52)
        await bench.queue.submit(job, 99)
        assert await bench.lease() == [job.id]
        await bench.begin(job)
        if deadline_ms:
            await bench.redis.hset(redis_keys.JOB + job.id, "deadline_ms", deadline_ms)
        if canceled:
            await bench.queue.cancel(job.id)
        assert await bench.queue.reclaim(ending_only=True) == {}, "its worker renews the lease"
        await bench.end_lease(*others, job)
        ended = await bench.queue.reclaim(ending_only=True)
        state = State.CANCELED if canceled else State.EXPIRED if deadline_ms == 1 else State.RUNNING
        assert ended == ({job.id: state.value} if state.over else {})
        record = await bench.queue.record(job.id)
        assert record.state is state
        if state is State.EXPIRED:
            assert record.outcome.failure.code == "deadline" and record.outcome.failure.hint
        assert [await bench.state(other) for other in others] == [State.RUNNING] * 3
        assert len(await bench.queue.reclaim()) == (3 if state.over else 4), "a worker takes the others back"

    run(scenario)


@pytest.mark.parametrize("died", [True, False])
def test_a_job_past_its_deadline_expires_when_it_is_released(run, died):
    async def scenario(bench):
        job = await bench.running()
        await bench.redis.hset(redis_keys.JOB + job.id, "deadline_ms", 1)
        assert await bench.queue.release("a", [job.id], died=died) == {job.id: "expired"}
        assert await bench.state(job) is State.EXPIRED and await bench.lease(9) == []

    run(scenario)


def test_a_released_job_keeps_its_input_and_loses_the_pictures_of_its_attempt(run):
    async def scenario(bench):
        store, job = RedisStore(bench.redis), await bench.running()
        for name in ("input", "pass-1"):
            await store.put(f"{job.id}/{name}", b"x", 60)
        await bench.queue.release("a", [job.id], died=True)
        assert await store.names_of_job(job.id) == [f"{job.id}/input"]

    run(scenario)


def test_released_jobs_keep_their_order_and_spend_no_attempt(run):
    async def scenario(bench):
        jobs = await bench.submit(*["standard"] * 5)
        ids = await bench.lease(3)
        assert set((await bench.queue.release("a", ids, died=False)).values()) == {"queued"}
        leased, _ = await bench.queue.lease([BUNDLE], LANES, 9, worker="w", token="b", held=0)
        assert [job.spec.id for job in leased] == [job.id for job in jobs]
        assert [(job.attempts, job.deaths, job.run_alone) for job in leased] == [(1, 0, False)] * 5

    run(scenario)


def test_a_released_job_looks_as_if_it_had_not_started(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.report("a", job.id, Progress(fraction=0.5))
        await bench.queue.release("a", [job.id], died=False)
        record = await bench.queue.record(job.id)
        assert (record.state, record.started_ms, record.progress, record.attempts) == (
            State.QUEUED, None, Progress(), 0,
        )  # fmt: skip
        assert (await bench.queue.events(job.id))[-1].data == {"again": True}
        assert await bench.queue.release("a", [], died=False) == {}

    run(scenario)


def test_a_released_job_loses_its_outcome_so_far(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.report("a", job.id, Progress(), Outcome(degradations={"rain": 1.0}, stop_reason="clean"))
        await bench.queue.release("a", [job.id], died=True)
        assert (await bench.queue.record(job.id)).outcome == Outcome()

    run(scenario)


def test_a_job_whose_engine_died_goes_first_and_alone(run):
    async def scenario(bench):
        doomed, other = await bench.submit("standard", "standard")
        await bench.lease(1)
        assert await bench.queue.release("a", [doomed.id], died=True) == {doomed.id: "queued"}
        leased, _ = await bench.queue.lease([BUNDLE], LANES, 9, worker="w", token="b", held=0)
        assert [(job.spec.id, job.attempts, job.deaths, job.run_alone) for job in leased] == [(doomed.id, 2, 1, True)]
        assert await bench.lease(9) == [other.id], "another worker may go on"

    run(scenario)


def test_a_job_that_must_run_alone_waits_until_its_worker_holds_no_job(run):
    async def scenario(bench):
        (doomed,) = await bench.submit("standard")
        await bench.lease()
        await bench.queue.release("a", [doomed.id], died=True)
        await bench.submit("bulk")
        assert await bench.lease(9, token="b", held=1) == []
        assert (await bench.queue.forecast(doomed)).position == 0
        assert await bench.lease(9, token="b", held=0) == [doomed.id]

    run(scenario)


def test_a_job_that_must_run_alone_is_leased_alone(run):
    async def scenario(bench):
        (doomed,) = await bench.submit("bulk")
        await bench.lease()
        await bench.queue.release("a", [doomed.id], died=True)
        (first,) = await bench.submit("interactive")
        assert await bench.lease(9, token="b") == [first.id], "the lease stops before the job that must run alone"
        assert await bench.lease(9, token="c") == [doomed.id]

    run(scenario)


def test_each_job_of_a_dead_engine_runs_alone(run):
    async def scenario(bench):
        jobs = await bench.submit("standard", "standard", "standard")
        ids = await bench.lease(3)
        await bench.queue.release("a", ids, died=True)
        for job in jobs:
            assert await bench.lease(9, token="b") == [job.id]
            assert await bench.commit(job, token="b") is State.SUCCEEDED

    run(scenario)


def test_the_second_death_ends_a_job_as_suspected_poison(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.release("a", [job.id], died=True)
        assert await bench.lease() == [job.id]
        assert await bench.queue.release("a", [job.id], died=True) == {job.id: "poison"}
        record = await bench.queue.record(job.id)
        assert (record.state, record.deaths, record.outcome.failure.code) == (State.FAILED, 2, "poison-suspected")
        assert record.outcome.failure.detail and record.outcome.failure.hint
        assert (await bench.event_types(job))[-1] == "failed"
        assert await bench.lease(9) == []
        assert await bench.redis.zscore(f"{redis_keys.RQ_FAILED}{job.queue}", job.id) is not None

    run(scenario)


def test_a_release_without_a_death_keeps_the_deaths_before_it(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.release("a", [job.id], died=True)
        await bench.lease()
        await bench.queue.release("a", [job.id], died=False)
        leased = await bench.lease_one("b")
        assert (leased.attempts, leased.deaths, leased.run_alone) == (2, 1, True)

    run(scenario)


def test_jobs_of_a_dead_worker_are_queued_again_when_their_lease_ends(run):
    async def scenario(bench):
        lost, kept = await bench.submit("standard", "standard")
        await bench.lease(2)
        await bench.begin(kept)
        assert await bench.queue.reclaim() == {}, "not before"
        await bench.end_lease(lost)
        assert await bench.queue.reclaim() == {lost.id: "queued"}
        assert await bench.queue.reclaim() == {}, "once"
        assert (await bench.state(lost), await bench.state(kept)) == (State.QUEUED, State.RUNNING)
        assert (await bench.queue.counters.read())["lease_expired"] == 1
        assert (await bench.queue.record(lost.id)).deaths == 1
        assert await bench.redis.zrange(f"{redis_keys.RQ_STARTED}{lost.queue}", 0, -1) == [f"{kept.id}:a".encode()]

    run(scenario)


def test_a_job_whose_worker_died_twice_is_not_tried_a_third_time(run):
    async def scenario(bench):
        job = await bench.running()
        for answer in ("queued", "poison"):
            await bench.end_lease(job)
            assert await bench.queue.reclaim() == {job.id: answer}
            await bench.lease()
        assert await bench.state(job) is State.FAILED

    run(scenario)


def test_jobs_that_were_leased_in_a_lost_reply_are_put_back_without_a_death(run):
    async def scenario(bench):
        held, lost, others = await bench.submit("standard", "standard", "standard")
        await bench.lease(2)
        await bench.lease(1, token="b")
        assert await bench.queue.release_unheld("a", [held.id]) == [lost.id]
        assert await bench.queue.release_unheld("a", [held.id]) == []
        record = await bench.queue.record(lost.id)
        assert (record.state, record.attempts, record.deaths) == (State.QUEUED, 0, 0)
        assert await bench.queue.renew("a", [held.id]) == {held.id: "ok"}
        assert await bench.queue.renew("b", [others.id]) == {others.id: "ok"}

    run(scenario)


def test_a_job_that_died_too_often_ends_with_the_cause_that_its_worker_gives(run):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        cause = Failure(code="out-of-memory", detail="the engine was killed", hint="scale it down")
        for _ in range(redis_keys.MAX_DEATHS):
            assert await bench.lease() == [job.id]
            await bench.queue.release("a", [job.id], died=True, failure=cause)
        record = await bench.queue.record(job.id)
        assert (record.state, record.outcome.failure) == (State.FAILED, cause)

    run(scenario)


def test_a_release_that_is_sent_again_does_not_end_the_next_lease_of_its_worker(run):
    """The reply to a release was lost, and the worker has leased the job again before it repeats the release."""

    async def scenario(bench):
        (job,) = await bench.submit("standard")
        first = await bench.lease_one()
        sent = {"died": True, "numbers": {job.id: first.number}}
        assert await bench.queue.release("a", [job.id], **sent) == {job.id: "queued"}
        second = await bench.lease_one()
        assert (second.deaths, second.number) == (1, first.number + 1)
        assert await bench.queue.release("a", [job.id], **sent) == {job.id: "lost"}
        assert await bench.queue.renew("a", [job.id], {job.id: second.number}) == {job.id: "ok"}
        assert await bench.commit(job) is State.SUCCEEDED

    run(scenario)


def test_a_lease_without_an_answer_is_put_back_although_its_worker_holds_an_earlier_one(run):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        first = await bench.lease_one()
        await bench.end_lease(job)
        assert await bench.queue.reclaim() == {job.id: "queued"}
        assert await bench.lease() == [job.id]
        assert await bench.queue.release_unheld("a", [job.id], {job.id: first.number}) == [job.id]
        assert (await bench.lease_one()).number == first.number + 2

    run(scenario)


def test_leases_beyond_the_first_ones_end_too_while_no_worker_is_there(run, monkeypatch):
    """Jobs that wait for a worker must not hide those that end without it."""
    monkeypatch.setattr(redis_keys, "MAX_LEASES_LOOKED_AT", 3)

    async def scenario(bench):
        bench = QueueBench(bench.redis)  # its scripts know the limit
        jobs = await bench.submit(*["standard"] * 10)
        assert len(await bench.lease(10)) == 10
        await bench.end_lease(*jobs)
        canceled = jobs[7]
        await bench.queue.cancel(canceled.id)
        ended = {}
        for _ in range(200):
            ended |= await bench.queue.reclaim(ending_only=True)
            if ended:
                break
            await asyncio.sleep(0.05)
        assert ended == {canceled.id: "canceled"}
        assert len(await bench.redis.zrange(redis_keys.LEASES, 0, -1)) == 9

    run(scenario)


def test_only_the_jobs_of_the_worker_itself_are_looked_at_when_it_lost_an_answer(run):
    async def scenario(bench):
        for token in "ab":
            await bench.submit(*["standard"] * 4)
            await bench.lease(4, token=token)
        own = await bench.redis.smembers(redis_keys.LEASES_OF + "a")
        assert len(own) == 4
        lost, gone, *held = [job.decode() for job in own]
        await bench.redis.hset(redis_keys.JOB + gone, "lease", "c")  # by a version that keeps no such set
        assert await bench.queue.release_unheld("a", held) == [lost]
        assert {job.decode() for job in await bench.redis.smembers(redis_keys.LEASES_OF + "a")} == set(held)
        assert len(await bench.redis.smembers(redis_keys.LEASES_OF + "b")) == 4

    run(scenario)
