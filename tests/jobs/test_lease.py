"""Leasing jobs: whose turn it is, and what a worker gets."""

import asyncio

import pytest
from queue_bench import BUNDLE, MANY, spec
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.blob_store import Blob, RedisStore
from jobs.errors import BlobMissing
from jobs.queue import Queue
from jobs.spec import HEAD_START_S, LANES
from jobs.state import State


def test_within_a_lane_jobs_are_leased_in_order_of_arrival(run):
    async def scenario(bench):
        jobs = await bench.submit(*["standard"] * 5)
        assert await bench.lease(3) + await bench.lease(9) == [job.id for job in jobs]

    run(scenario)


def test_lanes_are_leased_in_their_order(run):
    async def scenario(bench):
        bulk, standard, interactive = await bench.submit("bulk", "standard", "interactive")
        assert await bench.lease(3) == [interactive.id, standard.id, bulk.id]

    run(scenario)


@pytest.mark.parametrize(("slow", "fast"), [("standard", "interactive"), ("bulk", "standard"), ("bulk", "interactive")])
def test_a_lane_goes_first_once_it_has_waited_longer_than_its_head_start(run, slow, fast):
    head_start_s = HEAD_START_S[slow] - HEAD_START_S[fast]

    async def scenario(bench):
        for patience_s, first in ((head_start_s - 5, fast), (head_start_s + 5, slow)):
            waits, comes = await bench.submit(slow, fast)
            await bench.set_arrival(waits, 1e9 - patience_s)
            await bench.set_arrival(comes, 1e9)
            order = [{waits.id: slow, comes.id: fast}[job] for job in await bench.lease(2)]
            assert order[0] == first

    run(scenario)


def test_no_lane_starves_under_a_flood_of_the_first_lane(run):
    """Two interactive jobs arrive and one job is leased every 10 s: those of the first 300 s precede the bulk job."""
    before_it = 2 * int(HEAD_START_S["bulk"] / 10)

    async def scenario(bench):
        (bulk,) = await bench.submit("bulk")
        await bench.set_arrival(bulk, 0)
        for already in range(before_it + 2):
            for job in await bench.submit("interactive", "interactive"):
                await bench.set_arrival(job, 10 * already + 1)
            (leased,) = await bench.lease()
            if leased == bulk.id:
                assert already == before_it
                return
        pytest.fail("the bulk job was never leased")

    run(scenario)


def test_a_worker_gets_only_its_lanes_and_no_more_than_it_asked_for(run):
    async def scenario(bench):
        interactive, bulk, another = await bench.submit("interactive", "bulk", "bulk")
        assert await bench.lease(1, lanes=("bulk",)) == [bulk.id]
        assert await bench.lease(9, lanes=("bulk",)) == [another.id]
        assert await bench.lease(0) == []
        assert await bench.lease(9) == [interactive.id]

    run(scenario)


def test_jobs_of_several_bundles_are_leased_in_order_of_arrival(run):
    async def scenario(bench):
        jobs = [spec(bundle=name, lane="standard") for name in ("a", "b", "a", "c")]
        for number, job in enumerate(jobs):
            await bench.queue.submit(job, MANY)
            await bench.set_arrival(job, number)
        leased, _ = await bench.queue.lease(["a", "b"], LANES, 9, worker="w", token="t", held=0)
        assert [entry.spec.id for entry in leased] == [job.id for job in jobs[:3]], (
            "and no job of a bundle that the worker has not"
        )
        await bench.queue.wait_for_work(["b", "c"], 30)  # a job for c has arrived

    run(scenario)


def test_a_lease_gives_the_job_and_is_recorded(run):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        leased = await bench.lease_one()
        assert (leased.spec, leased.attempts, leased.deaths, leased.run_alone, leased.cancel) == (
            job,
            1,
            0,
            False,
            False,
        )
        record = await bench.queue.record(job.id)
        assert (record.state, record.attempts, record.started_ms) == (State.QUEUED, 1, None), "it is only held"
        assert await bench.event_types(job) == ["queued"]
        ends_ms = await bench.redis.zscore(redis_keys.LEASES, job.id)
        assert ends_ms > record.enqueued_ms

    run(scenario)


def test_a_job_runs_from_its_first_report_and_starts_once(run):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        await bench.lease()
        await bench.begin(job)
        await bench.begin(job)
        record = await bench.queue.record(job.id)
        assert (record.state, record.attempts) == (State.RUNNING, 1)
        assert record.started_ms >= record.enqueued_ms
        ends_ms = await bench.redis.zscore(redis_keys.LEASES, job.id)
        assert ends_ms - record.started_ms <= redis_keys.LEASE_MS
        assert await bench.event_types(job) == ["queued", "started"]
        await bench.queue.release("a", [job.id], died=False)
        assert await bench.state(job) is State.QUEUED
        await bench.lease()
        assert await bench.state(job) is State.QUEUED, "it must begin again"

    run(scenario)


def test_a_job_whose_deadline_has_passed_expires_and_the_next_is_leased(run):
    async def scenario(bench):
        late, kept = spec(deadline_ms=1, keep_s=60), spec(deadline_ms=2**52)
        for job in (late, kept):
            await bench.queue.submit(job, MANY)
        assert await bench.lease(9) == [kept.id]
        record = await bench.queue.record(late.id)
        assert (record.state, record.outcome.failure.code) == (State.EXPIRED, "deadline")
        assert 0 < record.expires_ms - record.ended_ms <= 60_000
        assert await bench.event_types(late) == ["queued", "expired"]
        assert await bench.commit(late) is None

    run(scenario)


def test_a_server_that_has_lost_its_scripts_gets_them_again(run):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        await bench.redis.script_flush()
        leased = await bench.lease_one()
        assert leased.spec == job

    run(scenario)


def test_a_small_input_comes_with_the_lease_and_is_deleted_with_the_end(run):
    async def scenario(bench):
        job, picture = spec(), Blob("picture", b"\x00\xff" * 500, 60)
        await bench.queue.submit(job, MANY, picture)
        leased = await bench.lease_one()
        assert leased.input == picture.data
        await bench.commit(job)
        with pytest.raises(BlobMissing):
            await RedisStore(bench.redis).get("picture")

    run(scenario)


def test_a_released_job_brings_its_input_with_the_next_lease(run):
    async def scenario(bench):
        job = spec()
        await bench.queue.submit(job, MANY, Blob(f"{job.id}/input", b"bytes", 60))
        for token in ("a", "b"):
            leased = await bench.lease_one(token)
            assert leased.input == b"bytes"
            await bench.queue.release(token, [job.id], died=False)

    run(scenario)


def test_the_inputs_of_one_lease_are_at_most_a_megabyte(run):
    async def scenario(bench):
        for index in range(5):
            await bench.queue.submit(spec(), MANY, Blob(f"picture-{index}", b"x" * 300_000, 60))
        leased, _ = await bench.queue.lease([BUNDLE], LANES, 9, worker="w", token="a", held=0)
        inputs = [len(entry.input or b"") for entry in leased]
        assert inputs == [300_000] * 3 + [0] * 2, "the others are fetched from the store"

    run(scenario)


def test_a_lease_without_its_input_sends_the_worker_to_the_store(run):
    async def scenario(bench):
        await bench.queue.submit(spec(), MANY, Blob("picture", b"bytes", 60))
        await RedisStore(bench.redis).delete("picture")
        leased = await bench.lease_one()
        assert leased.input is None, "the worker looks in the store, and finds it missing"

    run(scenario)


def test_a_new_job_wakes_a_waiting_worker_and_the_wait_ends_by_itself(run):
    async def scenario(bench):
        await bench.queue.wait_for_work([BUNDLE], 0.05)
        waits = asyncio.ensure_future(bench.queue.wait_for_work([BUNDLE], 30))
        async with Redis(connection_pool=bench.redis.connection_pool) as other:
            await Queue(other).submit(spec(), MANY)
        await asyncio.wait_for(waits, 20)

    run(scenario)
