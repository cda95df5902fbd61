"""Forgetting jobs: what stays for how long, and that nothing is left behind."""

import pytest
from queue_bench import BUNDLE, MANY, spec

from jobs import redis_keys
from jobs.queue import Event
from jobs.record import Progress
from jobs.state import State


@pytest.mark.parametrize("state", ["queued", "canceled", "succeeded", "failed", "expired", "poison"])
def test_a_forgotten_job_leaves_no_trace(run, state):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        if state == "canceled":
            await bench.queue.cancel(job.id)
        elif state == "poison":
            for _ in range(2):
                await bench.lease()
                await bench.queue.release("a", [job.id], died=True)
        elif state != "queued":
            await bench.lease()
            await bench.queue.report("a", job.id, Progress(), event=Event(id="", type="step.progress", data={}))
            await bench.commit(job, State(state))
        assert await bench.traces(job)
        assert await bench.queue.forget(job.id) == 1
        assert await bench.traces(job) == []
        assert await bench.queue.forget(job.id) == 0
        assert await bench.queue.record(job.id) is None

    run(scenario)


def test_a_job_that_is_forgotten_while_it_runs_leaves_no_trace(run):
    async def scenario(bench):
        job = await bench.running()
        await bench.queue.forget(job.id)
        assert await bench.traces(job) == []
        assert (await bench.queue.backlog(BUNDLE)).running == 0

    run(scenario)


def test_only_shared_keys_are_left_when_all_jobs_are_forgotten(run):
    async def scenario(bench):
        jobs = await bench.submit("standard", "bulk")
        await bench.lease(2)
        for job in jobs:
            await bench.commit(job)
        await bench.queue.forget(*[job.id for job in jobs])
        left = {
            redis_keys.RECENT_ENDS + BUNDLE,
            redis_keys.COUNTERS,
            redis_keys.RQ_QUEUES,
        }
        assert set(await bench.keyspace()) == {key.encode() for key in left}

    run(scenario)


def test_jobs_are_forgotten_when_they_have_been_kept_long_enough(run):
    async def scenario(bench):
        due, kept = await bench.submit("standard", "standard")
        await bench.lease(2)
        for job in (due, kept):
            await bench.commit(job, keep_s=3600)
        assert await bench.queue.forget_expired() == []
        await bench.redis.zadd(redis_keys.EXPIRY, {due.id: 1}, xx=True)
        assert await bench.queue.forget_expired() == [due.id]
        assert await bench.traces(due) == []
        assert await bench.state(kept) is State.SUCCEEDED

    run(scenario)


def test_a_job_whose_hash_expired_before_the_sweep_leaves_no_trace(run):
    """This happens when no worker has swept for a long time."""

    async def scenario(bench):
        job = await bench.running()
        await bench.commit(job, keep_s=60)
        await bench.redis.zadd(redis_keys.EXPIRY, {job.id: 1}, xx=True)
        for key in (redis_keys.JOB, redis_keys.EVENTS, redis_keys.RQ_JOB, redis_keys.RQ_RESULTS):  # as their TTL does
            await bench.redis.delete(key + job.id)
        assert await bench.queue.forget_expired() == [job.id]
        assert await bench.traces(job) == []

    run(scenario)


@pytest.mark.parametrize("end", ["commit", "cancel", "poison"])
def test_every_key_of_an_ended_job_has_a_time_to_live(run, end):
    async def scenario(bench):
        job = spec(keep_s=60)
        await bench.queue.submit(job, MANY)
        if end == "commit":
            await bench.lease()
            await bench.commit(job, keep_s=60)
        elif end == "cancel":
            await bench.queue.cancel(job.id, keep_s=60)
        else:
            for _ in range(2):
                await bench.lease()
                await bench.queue.release("a", [job.id], died=True)
        own = [key for key in await bench.keyspace() if job.id.encode() in key]
        assert len(own) >= 3
        for key in own:
            assert 60 < await bench.redis.ttl(key) <= 60 + 2 * 3600, "the keys outlive the sweep that forgets the job"
        record = await bench.queue.record(job.id)
        assert 0 < record.expires_ms - record.ended_ms <= 60_000
        assert await bench.redis.zscore(redis_keys.EXPIRY, job.id) == record.expires_ms

    run(scenario)


def test_a_job_of_a_dead_worker_is_kept_for_as_long_as_its_spec_says(run):
    async def scenario(bench):
        job = spec(keep_s=60)
        await bench.queue.submit(job, MANY)
        for _ in range(2):
            await bench.lease()
            await bench.end_lease(job)
            await bench.queue.reclaim()
        record = await bench.queue.record(job.id)
        assert record.expires_ms - record.ended_ms <= 60_000

    run(scenario)


def test_queued_and_running_jobs_do_not_expire_by_themselves(run):
    async def scenario(bench):
        running, _ = await bench.submit("standard", "standard")
        await bench.lease()
        lasting = [key for key in await bench.keyspace() if await bench.redis.ttl(key) != -1]
        assert lasting == []
        week_ms = await bench.redis.zscore(redis_keys.EXPIRY, running.id) - (await bench.queue.now_ms())
        assert 0 < week_ms <= redis_keys.QUEUED_TTL_S * 1000

    run(scenario)
