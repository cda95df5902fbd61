"""Purges: queued jobs end as canceled with a reason, their images go, and a leased job goes on."""

import asyncio

from queue_bench import BUNDLE, MANY, QueueBench, spec
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.blob_store import Blob
from jobs.purge import Selection, count, purge
from jobs.queue import Queue
from jobs.record import Failure
from jobs.spec import JobControls, Source
from jobs.state import State


async def with_image(bench, lane="standard", owner=None, prompt=None, bundle=BUNDLE):
    """Submit a job with an image in Redis."""
    job = spec(lane, owner=owner, bundle=bundle, kind="restore", controls=JobControls(prompt=prompt))
    source = Source(blob=f"{job.id}/input", bytes=4, sha256="", format="png", width_px=1, height_px=1)
    job = job.model_copy(update={"source": source})
    await bench.queue.submit(job, MANY, Blob(source.blob, b"data", 3600))
    return job


async def states(bench, jobs):
    return [await bench.state(job) for job in jobs]


def test_a_purge_ends_the_selected_jobs_only_and_the_count_before_is_what_it_ends(run):
    async def scenario(bench):
        mine = [await with_image(bench, lane, "ada") for lane in ("bulk", "bulk", "standard")]
        other = await with_image(bench, "bulk", "bob")
        elsewhere = await with_image(bench, "bulk", "ada", bundle="c")
        selection = Selection(lane="bulk", bundle=BUNDLE, owner="ada")
        assert await count(bench.queue, selection) == 2
        assert await purge(bench.queue, selection) == 2
        assert await states(bench, mine) == [State.CANCELED, State.CANCELED, State.QUEUED]
        assert await states(bench, [other, elsewhere]) == [State.QUEUED, State.QUEUED]
        assert await count(bench.queue, Selection(owner="ada")) == 2
        assert await purge(bench.queue, Selection(bundle="c")) == 1
        assert await purge(bench.queue, Selection(lane="interactive")) == 0

    run(scenario)


def test_a_purged_job_has_the_reason_no_image_no_prompt_and_tells_who_waits(run):
    async def scenario(bench):
        job = await with_image(bench, prompt="remove my neighbor", owner="ada")
        async with bench.redis.pubsub() as ends:
            await ends.subscribe(redis_keys.END_OF_JOB + job.id)
            assert (await ends.get_message(timeout=5))["type"] == "subscribe"
            assert await purge(bench.queue, Selection(lane="standard"), "maintenance") == 1
            assert (await ends.get_message(timeout=5))["type"] == "message"
        record = await bench.queue.record(job.id)
        assert record.state is State.CANCELED
        assert record.outcome.failure.code == "purged" and "maintenance" in record.outcome.failure.detail
        assert record.spec.controls.prompt is None
        last = (await bench.queue.events(job.id))[-1]
        assert last.type == "canceled" and last.data["error"]["code"] == "purged"
        assert not [key async for key in bench.redis.scan_iter(redis_keys.BLOB + "*")]
        assert await bench.redis.hget(redis_keys.STORED_TOTALS, "*") is None, "its bytes are given back"
        assert await bench.redis.exists(redis_keys.RQ_QUEUE + f"{BUNDLE}.standard") == 0
        assert await bench.redis.zscore(redis_keys.RQ_CANCELED + f"{BUNDLE}.standard", job.id) is not None

    run(scenario)


def test_a_leased_job_is_not_purged_even_where_it_was_queued_when_the_purge_looked(run):
    async def scenario(bench):
        job = await with_image(bench)
        seen = {job.id: job}  # what a purge has read
        assert await bench.lease() == [job.id]
        assert await bench.queue.purge(seen, Failure(code="purged", detail="")) == []
        assert await bench.commit(job) is State.SUCCEEDED

    run(scenario)


def test_every_job_is_either_purged_or_run_when_workers_lease_at_the_same_time(valkey_url):
    async def scenario():
        async with Redis.from_url(valkey_url) as admin:
            queue, run = Queue(admin), []
            jobs = [spec("bulk") for _ in range(400)]
            for job in jobs:
                await queue.submit(job, MANY)
            stop = asyncio.Event()

            async def worker(token):
                async with Redis.from_url(valkey_url) as redis:
                    bench = QueueBench(redis)
                    while not stop.is_set():
                        for job in await bench.lease(2, token=token):
                            assert await bench.commit(next(j for j in jobs if j.id == job), token=token)
                            run.append(job)
                        await asyncio.sleep(0)

            workers = [asyncio.create_task(worker(f"t{number}")) for number in range(3)]
            while len(run) < 5:
                await asyncio.sleep(0)
            ended = sum(await asyncio.gather(*(purge(queue, Selection(lane="bulk")) for _ in range(2))))
            stop.set()
            await asyncio.gather(*workers)
            bench = QueueBench(admin)
            found = await states(bench, jobs)
            assert (found.count(State.CANCELED), found.count(State.SUCCEEDED)) == (ended, len(run))
            assert ended + len(run) == len(jobs) and ended and run

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_purge_leaves_entries_that_are_no_jobs_of_ours(run):
    async def scenario(bench):
        await bench.submit("bulk")
        await bench.redis.rpush(redis_keys.RQ_QUEUE + f"{BUNDLE}.bulk", b"\xff\xfe", "somebody else's")
        assert await purge(bench.queue, Selection(lane="bulk")) == 1
        assert await bench.redis.llen(redis_keys.RQ_QUEUE + f"{BUNDLE}.bulk") == 2

    run(scenario)


def test_a_purge_misses_no_job_of_a_long_line_whose_order_changes_meanwhile(run, monkeypatch):
    """A job that leaves the middle has its place taken by the last one."""
    monkeypatch.setattr(redis_keys, "MAX_SEARCHED", 3)
    monkeypatch.setattr("jobs.purge.JOBS_AT_ONCE", 7)

    async def scenario(bench):
        bench = QueueBench(bench.redis)  # its scripts know the limit
        jobs = [spec("bulk", owner=("ada", "bob", "eve")[number % 3]) for number in range(90)]
        for job in jobs:
            await bench.queue.submit(job, MANY)
        own = bench.queue.purge

        async def while_others_cancel(selected, cause):
            ended = await own(selected, cause)
            queued = [job for job in jobs[10:60] if job.owner == "eve" and await bench.state(job) is State.QUEUED]
            for job in queued[:2]:
                await bench.queue.cancel(job.id)
            return ended

        bench.queue.purge = while_others_cancel
        selection = Selection(lane="bulk", owner="ada")
        assert await count(bench.queue, selection) == 30
        assert await purge(bench.queue, selection) == 30
        assert set(await states(bench, [job for job in jobs if job.owner == "ada"])) == {State.CANCELED}
        assert set(await states(bench, [job for job in jobs if job.owner == "bob"])) == {State.QUEUED}
        assert State.CANCELED in await states(bench, [job for job in jobs if job.owner == "eve"])

    run(scenario)


def test_a_job_that_comes_during_a_purge_stays(run):
    async def scenario(bench):
        await bench.submit("bulk")
        own, late = bench.queue.now_ms, spec("bulk")

        async def then_comes_another():
            began_ms = await own()
            while await own() == began_ms:
                pass
            await bench.queue.submit(late, MANY)
            return began_ms

        bench.queue.now_ms = then_comes_another
        assert await purge(bench.queue, Selection(lane="bulk")) == 1
        assert await states(bench, [late]) == [State.QUEUED]

    run(scenario)


def test_a_line_that_an_earlier_version_has_changed_is_purged_whole(run):
    async def scenario(bench):
        jobs = await bench.submit(*["bulk"] * 5)
        await bench.redis.delete(redis_keys.LINE + jobs[0].queue)  # an earlier version knows RQ's list only
        assert await purge(bench.queue, Selection(lane="bulk")) == 5

    run(scenario)
