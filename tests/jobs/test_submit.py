"""Submitting jobs: what is kept, and what is refused."""

import pytest
from queue_bench import BUNDLE, MANY, spec

from jobs import redis_keys
from jobs.blob_store import Blob, RedisStore
from jobs.errors import DuplicateJob, QueueFull
from jobs.state import State


def test_a_submitted_job_has_a_record_and_an_event(run):
    async def scenario(bench):
        job = spec("bulk", deadline_ms=5, owner="0123456789ab")
        before_ms = await bench.queue.now_ms()
        assert await bench.queue.submit(job, 1) == 0
        record = await bench.queue.record(job.id)
        assert (record.spec, record.state, record.attempts, record.deaths, record.cancel) == (
            job, State.QUEUED, 0, 0, False,
        )  # fmt: skip
        assert before_ms <= record.enqueued_ms <= await bench.queue.now_ms()
        assert await bench.event_types(job) == ["queued"]

    run(scenario)


def test_a_full_queue_refuses_a_job_and_keeps_nothing_of_it(run):
    async def scenario(bench):
        await bench.submit("interactive", "bulk")
        before = await bench.keyspace()
        refused = spec()
        with pytest.raises(QueueFull) as full:
            await bench.queue.submit(refused, 2, Blob("a/input", b"pixels", 60))
        assert full.value.queued == 2
        assert await bench.keyspace() == before

    run(scenario)


def test_an_input_that_is_submitted_with_its_job_expires_by_itself(run):
    async def scenario(bench):
        data = bytes(range(256)) * 4
        await bench.queue.submit(spec(), MANY, Blob("a/input", data, 60))
        assert await RedisStore(bench.redis).get("a/input") == data
        assert 0 < await bench.redis.ttl(redis_keys.BLOB + "a/input") <= 60

    run(scenario)


def test_running_jobs_do_not_count_as_queued(run):
    async def scenario(bench):
        await bench.running()
        assert await bench.queue.submit(spec(), 1) == 0

    run(scenario)


def test_each_bundle_has_queues_of_its_own(run):
    async def scenario(bench):
        await bench.submit("standard")
        other = spec(bundle="other")
        assert await bench.queue.submit(other, 1) == 0
        assert other.id not in await bench.lease(9)

    run(scenario)


@pytest.mark.parametrize("when", ["queued", "running", "over"])
def test_an_id_is_accepted_once(run, when):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        if when != "queued":
            await bench.lease()
        if when == "over":
            await bench.commit(job)
        before = await bench.keyspace()
        with pytest.raises(DuplicateJob, match=job.id):
            await bench.queue.submit(job, MANY)
        assert await bench.keyspace() == before

    run(scenario)


def test_the_list_that_wakes_workers_stays_short(run):
    async def scenario(bench):
        await bench.submit(*["standard"] * (redis_keys.MAX_ARRIVALS + 9))
        assert await bench.redis.llen(redis_keys.ARRIVALS + BUNDLE) == redis_keys.MAX_ARRIVALS

    run(scenario)
