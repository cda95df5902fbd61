"""No operation costs more in a longer line.  What counts is what Redis does, in steps and bytes, and not the time."""

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from counted_steps import CountedRedis, traffic
from queue_bench import BUNDLE, QueueBench, finished, spec
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.batches import BatchEntry
from jobs.claims import Claim
from jobs.deliveries import Outbox
from jobs.errors import QuotaExceeded
from jobs.hooks import Hooks
from jobs.job_list import Cursor, Filter
from jobs.overview import take_overview
from jobs.purge import Selection, purge
from jobs.quotas import Quotas
from jobs.record import Failure, Progress
from jobs.state import State

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LENGTHS = (1000, 5000)
OWNERS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb")
FAR_MS = 10**13
HOOKS = Hooks(webhook_url="https://example.org/hook", events=("completed",))
BATCH = "b" * 32


class Line(QueueBench):
    """A line of queued jobs of two keys, all with a label and a deadline."""

    def __init__(self, redis, length, job_id, numbers):
        self.counted = CountedRedis(redis)
        super().__init__(self.counted)
        self.length, self.job_id, self.numbers = length, job_id, numbers

    def middle(self):
        """The id of a queued job in the middle of the line, each once."""
        return self.job_id(self.length // 2 + next(self.numbers))

    async def new(self, owner=OWNERS[0], labels=None, quotas=Quotas(), hooks=None, claim=None, **fields):  # noqa: B008
        job = spec(owner=owner, labels=labels or {"team": "x"}, bundle=BUNDLE, **fields)
        await self.queue.submit(job, 10**8, quotas=quotas, hooks=hooks, claim=claim)
        return job


async def submit(line):
    await line.new()


async def submit_with_all(line):
    claim = Claim(name=f"undegrade:claim:{line.middle()}", digest="d")
    await line.new(hooks=HOOKS, claim=claim, deadline_ms=FAR_MS, quotas=Quotas(jobs=line.length + 10**6))
    assert await line.queue.claim_holder(claim)


async def submit_at_the_quota_of_jobs(line):
    await line.redis.delete(redis_keys.RECOUNTED + OWNERS[0])
    with pytest.raises(QuotaExceeded):
        await line.new(quotas=Quotas(jobs=100))


async def a_job_runs(line):
    (job,) = await line.lease()
    assert await line.queue.report("a", job, Progress())
    assert await line.queue.renew("a", [job]) == {job: "ok"}
    assert await line.queue.commit("a", [finished(job)]) == [State.SUCCEEDED]
    assert await line.queue.forget(job) == 1


async def a_job_comes_back(line):
    (job,) = await line.lease()
    assert await line.queue.release("a", [job], died=False) == {job: "queued"}
    assert await line.lease() == [job]
    assert await line.queue.release_unheld("a", []) == [job]
    assert await line.lease() == [job]
    await line.redis.zadd("undegrade:leases", {job: 1}, xx=True)
    assert await line.queue.reclaim(ending_only=True) == {}
    assert await line.queue.reclaim() == {job: "queued"}
    assert await line.lease() == [job]
    await line.queue.commit("a", [finished(job, State.SUCCEEDED)])


async def cancel(line):
    assert await line.queue.cancel(line.middle()) is State.QUEUED


async def forget(line):
    assert await line.queue.forget(line.middle()) == 1


async def cancel_a_batch(line):
    jobs = [await line.new(batch=BATCH) for _ in range(3)]
    await line.queue.batches.seal(BATCH, OWNERS[0], [BatchEntry(job=job.id) for job in jobs], 60)
    assert len((await line.queue.batches.page(OWNERS[0], 5)).batches) == 1
    batch = await line.queue.batches.read(BATCH)
    assert len((await line.queue.listing.page(Filter(batch=BATCH, state=State.QUEUED), 5)).records) == 3
    for item in batch.items:
        assert await line.queue.cancel(item.entry.job) is State.QUEUED
        await line.queue.forget(item.entry.job)
    await line.queue.batches.forget(BATCH)


async def expire(line):
    await line.new(deadline_ms=1)
    assert len(await line.queue.expire()) == 1


async def forget_expired(line):
    job = await line.new()
    await line.queue.cancel(job.id)
    await line.redis.zadd("undegrade:expiry", {job.id: 1}, xx=True)
    assert await line.queue.forget_expired() == [job.id]


async def purge_jobs_of_an_operator(line):
    job = line.middle()
    assert await line.queue.purge({job: None}, Failure(code="purged", detail="")) == [job]


async def purge_another_lane(line):
    await line.new(lane="bulk")
    assert await purge(line.queue, Selection(lane="bulk")) == 1


async def places_and_counts(line):
    for job in (line.middle(), line.middle()):
        assert (await line.queue.line(BUNDLE, "standard", job, OWNERS[1])).place
    await line.queue.backlog(BUNDLE)
    await take_overview(line.queue, [BUNDLE])
    await line.queue.stored_bytes()
    await line.queue.quotas.count_request(OWNERS[0], Quotas(jobs=10**6))
    await Outbox(line.redis).snapshot(1)


async def resume_a_lane(line):
    await line.queue.pauses.pause("standard", "me")
    assert await line.queue.pauses.resume("standard")


async def housekeeping(line):
    assert not await line.queue.listing.index_states()
    await line.queue.unreserve()


@pytest.mark.parametrize("owner", [None, OWNERS[0]])
@pytest.mark.parametrize("state", [None, State.QUEUED, State.RUNNING, State.FAILED, State.EXPIRED])
@pytest.mark.parametrize("labels", [(), [("team", "x")], [("team", "nobody's")]])
@pytest.mark.parametrize("since", [1, FAR_MS])
def test_a_list_does_not_grow_with_the_line(compare, owner, state, labels, since):
    async def look(line):
        arrived = int(await line.redis.zscore("undegrade:jobs", line.middle()))
        for after in (None, Cursor(arrived)):
            wanted = Filter(owner=owner, state=state, labels=labels, since_ms=since)
            page = await line.queue.listing.page(wanted, 10, after)
            if state in (None, State.QUEUED) and labels != [("team", "nobody's")] and since != FAR_MS:
                assert len(page.records) == 10 and page.next

    compare(look)


@pytest.mark.parametrize(
    "operation",
    [
        submit, submit_with_all, submit_at_the_quota_of_jobs, a_job_runs, a_job_comes_back, cancel, forget,
        cancel_a_batch, expire, forget_expired, purge_jobs_of_an_operator, purge_another_lane, places_and_counts,
        resume_a_lane, housekeeping,
    ],
)  # fmt: skip
def test_an_operation_does_not_grow_with_the_line(compare, operation):
    compare(operation)


@pytest.fixture(scope="module")
def lines():
    """URLs of two servers with lines of LENGTHS, and the function that gives a job's id by its number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        from local_valkey import local_valkey
        from queued_jobs import fill, job_id

        async def fill_with(url, length):
            async with Redis.from_url(url, socket_timeout=60) as redis:
                for at, owner in enumerate(OWNERS):
                    half = length // 2
                    fields = {"owner": owner, "labels": {"team": "x"}, "bundle": BUNDLE, "deadline_ms": FAR_MS}
                    await fill(redis, half, 1 + at * half, **fields)

        with local_valkey() as short, local_valkey() as long:
            for url, length in zip((short, long), LENGTHS, strict=True):
                asyncio.run(fill_with(url, length))
            yield (short, long), job_id, (count(100), count(100))  # not of the first millisecond


@pytest.fixture
def compare(lines):
    """Runs an operation in both lines, twice: its steps and bytes in the long one are those of the short one."""

    async def cost(redis, line, operation):
        await operation(line)  # scripts are loaded, keys are there
        await line.counted.take_steps()
        before = await traffic(redis)
        await operation(line)
        after = await traffic(redis)
        return {name: number - before.get(name, 0) for name, number in after.items()}, await line.counted.take_steps()

    async def measure(operation):
        urls, job_id, numbers = lines
        async with AsyncExitStack() as stack:
            costs = []
            for url, length, drawn in zip(urls, LENGTHS, numbers, strict=True):
                redis = await stack.enter_async_context(Redis.from_url(url, socket_timeout=60))
                costs.append(await cost(redis, Line(redis, length, job_id, drawn), operation))
        return costs

    def check(operation):
        (short, few), (long, many) = asyncio.run(measure(operation))
        assert many <= 1.1 * few + 40, f"{few} steps in the short line, {many} in the long one: {short}, {long}"
        assert long["bytes"] <= 1.1 * short["bytes"] + 500
        calls = {name: number for name, number in long.items() if number > 1.1 * short.get(name, 0) + 4}
        assert {name for name in calls if name not in ("bytes", "info")} == set(), (short, calls)

    return check


def test_the_counter_sees_a_walk_along_a_line(valkey_url):
    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            counted = CountedRedis(redis)
            await redis.rpush("l", *range(1000))
            found = {}
            for name, text in {
                "search": "return redis.call('LPOS', 'l', '900')",
                "removal": "return redis.call('LREM', 'l', 1, '700')",
                "near removal": "return redis.call('LREM', 'l', -1, '990')",
                "whole": "return redis.call('LRANGE', 'l', 0, -1)",
                "length": "return redis.call('LLEN', 'l')",
            }.items():
                await counted.register_script(text)()
                found[name] = await counted.take_steps()
            assert found["search"] > 900 and found["removal"] > 700 and found["whole"] > 990
            assert found["near removal"] < 12 and found["length"] == 1

    asyncio.run(scenario())
