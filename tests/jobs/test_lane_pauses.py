"""Paused lanes: they accept jobs, and no worker gets one, whatever happens at the same moment."""

import asyncio

import pytest
from queue_bench import BUNDLE, MANY, QueueBench, spec
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from rq import Queue as RqQueue

from jobs import redis_keys
from jobs.errors import UnknownName
from jobs.queue import Queue
from jobs.spec import LANES
from jobs.state import State


def test_a_paused_lane_accepts_jobs_and_gives_none_until_it_is_resumed(run):
    async def scenario(bench):
        mark = await bench.queue.pauses.pause("standard", "ada")
        (held,) = await bench.submit("standard")
        (other,) = await bench.submit("bulk")
        assert await bench.lease(5) == [other.id]
        assert await bench.queue.pauses.paused() == {"standard": mark} and mark.by == "ada"
        assert await bench.state(held) is State.QUEUED
        assert await bench.queue.pauses.resume("standard")
        assert await bench.lease(5) == [held.id]
        assert not await bench.queue.pauses.resume("standard"), "it was not paused any more"

    run(scenario)


@pytest.mark.parametrize("lane", LANES)
def test_a_pause_stops_its_own_lane_only(run, lane):
    async def scenario(bench):
        jobs = dict(zip(LANES, await bench.submit(*LANES), strict=True))
        await bench.queue.pauses.pause(lane, "")
        assert set(await bench.lease(5)) == {job.id for name, job in jobs.items() if name != lane}

    run(scenario)


def test_the_first_of_two_admins_counts_and_the_second_changes_nothing(run):
    async def scenario(bench):
        marks = await asyncio.gather(*(bench.queue.pauses.pause("bulk", by) for by in ("ada", "bob", "eve")))
        assert len({mark.by for mark in marks}) == 1
        assert (await bench.queue.pauses.paused())["bulk"] == marks[0]
        answers = await asyncio.gather(*(bench.queue.pauses.resume("bulk") for _ in range(3)))
        assert sorted(answers) == [False, False, True]

    run(scenario)


@pytest.mark.parametrize(("name", "near"), [("bulks", "bulk"), ("Interactive", "interactive"), ("x", "interactive")])
def test_an_unknown_lane_is_an_error_with_the_nearest_name(run, name, near):
    async def scenario(bench):
        for action in (bench.queue.pauses.pause(name, ""), bench.queue.pauses.resume(name)):
            with pytest.raises(UnknownName, match=near):
                await action
        assert await bench.redis.exists(redis_keys.PAUSED) == 0

    run(scenario)


def test_a_forecast_says_that_the_lane_is_paused_and_other_lanes_do_not_wait_for_it(run):
    async def scenario(bench):
        done = await bench.running()
        await bench.commit(done)
        (stuck,) = await bench.submit("interactive")
        (free,) = await bench.submit("standard")
        await bench.queue.pauses.pause("interactive", "")
        paused, other = await bench.queue.forecast(stuck), await bench.queue.forecast(free)
        assert (paused.paused, paused.eta_s) == (True, None)
        assert (other.paused, other.position) == (False, 0) and other.eta_s is not None
        await bench.queue.pauses.resume("interactive")
        assert (await bench.queue.forecast(free)).position == 1

    run(scenario)


def test_a_resumed_lane_wakes_a_worker_that_waits(run):
    async def scenario(bench):
        await bench.queue.pauses.pause("bulk", "")
        await bench.submit("bulk")
        await bench.redis.delete(redis_keys.ARRIVALS + BUNDLE)  # workers have looked, and found nothing to take
        await bench.queue.pauses.resume("bulk")
        assert await bench.redis.llen(redis_keys.ARRIVALS + BUNDLE) == 1

    run(scenario)


def test_no_lease_succeeds_after_a_pause_has_answered_while_many_workers_lease(valkey_url):
    """Ten workers lease one by one on connections of their own; the order of the answers is Redis' own."""

    async def scenario():
        async with Redis.from_url(valkey_url) as admin:
            queue = Queue(admin)
            for _ in range(400):
                await queue.submit(spec("bulk"), MANY)
            paused_at = None
            taken, late = [], []

            async def worker(number):
                async with Redis.from_url(valkey_url) as redis:
                    bench = QueueBench(redis)
                    while True:
                        begun = asyncio.get_running_loop().time()
                        got = await bench.lease(1, token=f"t{number}")
                        if paused_at is not None and begun > paused_at:
                            late.extend(got)
                            return
                        taken.extend(got)

            workers = [asyncio.create_task(worker(number)) for number in range(10)]
            while len(taken) < 20:
                await asyncio.sleep(0)
            await queue.pauses.pause("bulk", "")
            paused_at = asyncio.get_running_loop().time()
            await asyncio.gather(*workers)
            assert late == []
            assert await admin.llen(redis_keys.RQ_QUEUE + f"{BUNDLE}.bulk") > 0, "the pause came while they leased"

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_rq_still_sees_the_jobs_of_a_paused_lane(run, valkey_url):
    async def scenario(bench):
        await bench.queue.pauses.pause("bulk", "")
        (job,) = await bench.submit("bulk")

        def seen():
            with BlockingRedis.from_url(valkey_url) as redis:
                return RqQueue(f"{BUNDLE}.bulk", connection=redis).job_ids

        assert await asyncio.to_thread(seen) == [job.id]

    run(scenario)


def test_a_queued_job_of_a_paused_lane_still_expires_at_its_deadline(run):
    async def scenario(bench):
        await bench.queue.pauses.pause("bulk", "")
        job = spec("bulk", deadline_ms=1)
        await bench.queue.submit(job, MANY)
        assert await bench.queue.expire() == [job.id]

    run(scenario)
