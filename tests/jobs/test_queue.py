"""What can be read of the queue: events, changes, results, places, backlog and pages of jobs."""

from queue_bench import BUNDLE, finished, spec

from jobs import redis_keys
from jobs.blob_store import Blob, RedisStore
from jobs.queue import Event
from jobs.record import Outcome, Progress


def test_events_are_read_after_the_last_one_that_was_seen(run):
    async def scenario(bench):
        job = await bench.running()
        for number in range(3):
            await bench.queue.report("a", job.id, Progress(), event=Event(id="", type="n", data={"n": number}))
        events = await bench.queue.events(job.id)
        assert [event.type for event in events] == ["queued", "started", "n", "n", "n"]
        for seen, event in enumerate(events):
            assert await bench.queue.events(job.id, event.id) == events[seen + 1 :]
        assert await bench.queue.events("0" * 32) == []

    run(scenario)


def test_a_record_is_read_together_with_its_result(run):
    async def scenario(bench):
        job, picture = await bench.running(), b"\n\x00\xff 7" * 999
        assert await bench.queue.record_with_result(job) == (await bench.queue.record(job.id), None)
        outcome = Outcome(stop_reason="clean", degradations={"noise": 0.25})
        await bench.queue.commit("a", [finished(job, outcome=outcome, blob=Blob("a/result", picture, 60))])
        record = await bench.queue.record(job.id)
        assert await bench.queue.record_with_result(job) == (record, picture) and record.outcome == outcome
        await RedisStore(bench.redis).delete("a/result")
        assert await bench.queue.record_with_result(job) == (record, None)
        assert await bench.queue.record_with_result(spec()) == (None, None)

    run(scenario)


def test_the_backlog_counts_the_queued_jobs_of_each_lane_and_the_running_jobs(run):
    async def scenario(bench):
        jobs = await bench.submit("interactive", "standard", "standard", "bulk")
        empty = await bench.queue.backlog("other")
        assert (empty.total, empty.running, empty.seconds_per_job) == (0, 0, None)
        await bench.lease(2)
        backlog = await bench.queue.backlog(BUNDLE)
        assert (backlog.queued, backlog.total) == ({"interactive": 0, "standard": 1, "bulk": 1}, 2)
        assert backlog.running == 2
        await bench.commit(jobs[0])
        assert (await bench.queue.backlog(BUNDLE)).running == 1

    run(scenario)


def test_seconds_per_job_is_the_busy_time_of_the_last_jobs(run):
    async def scenario(bench):
        await bench.redis.rpush(redis_keys.RECENT_ENDS + BUNDLE, "9000 6000", "5000 2000", "900000 897000")
        assert (await bench.queue.backlog(BUNDLE)).seconds_per_job == 3.0
        for _ in range(redis_keys.MAX_RECENT_ENDS):
            job = await bench.running()
            await bench.commit(job)
        assert await bench.redis.llen(redis_keys.RECENT_ENDS + BUNDLE) == redis_keys.MAX_RECENT_ENDS

    run(scenario)
