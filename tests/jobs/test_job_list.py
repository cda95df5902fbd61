"""Listing jobs: every job once, newest first, by filters that a plain list of the jobs confirms."""

import random

import pytest
from queue_bench import MANY, spec

from jobs import redis_keys
from jobs.job_list import Cursor, Filter, read_cursor
from jobs.state import State

HER, HIM = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


async def everything(bench, wanted=Filter(), count=3, looks=2000):  # noqa: B008
    """All jobs of a filter, page by page, and the number of pages."""
    found, after, pages = [], None, 0
    while True:
        page = await bench.queue.listing.page(wanted, count, after, looks)
        assert len(page.records) <= count
        found += [record.spec.id for record in page.records]
        pages += 1
        if page.next is None:
            return found, pages
        after = read_cursor(str(page.next))


async def set_arrivals(bench, arrivals):
    """Give jobs the milliseconds of their arrival: {job: ms}."""
    for job, ms in arrivals.items():
        patterns = (redis_keys.LABELED + "*", redis_keys.JOBS_IN_STATE + "*")
        indexes = [redis_keys.JOBS, *[key for each in patterns async for key in bench.redis.scan_iter(each)]]
        for index in indexes:
            await bench.redis.zadd(index, {job: ms}, xx=True)


@pytest.mark.parametrize("milliseconds", [range(1000, 1020), [1000] * 20, [1000] * 7 + [2000] * 13])
@pytest.mark.parametrize("count", [1, 3, 19, 20, 21])
def test_every_job_comes_once_newest_first(run, milliseconds, count):
    async def scenario(bench):
        jobs = [job.id for job in await bench.submit(*["standard"] * 20)]
        await set_arrivals(bench, dict(zip(jobs, milliseconds, strict=True)))
        by_age = sorted(zip(milliseconds, jobs, strict=True), reverse=True)
        assert (await everything(bench, count=count))[0] == [job for _, job in by_age]

    run(scenario)


def test_a_page_that_begins_while_jobs_come_and_go_loses_and_repeats_none(run):
    async def scenario(bench):
        jobs = [job.id for job in await bench.submit(*["standard"] * 9)]
        first = await bench.queue.listing.page(Filter(), 4)
        seen = [record.spec.id for record in first.records]
        await bench.submit("standard")
        await bench.queue.forget(seen[-1], seen[0])  # also the job of the cursor
        rest = await bench.queue.listing.page(Filter(), 9, first.next)
        assert {*seen, *(record.spec.id for record in rest.records)} == set(jobs)
        assert not set(seen) & {record.spec.id for record in rest.records} and rest.next is None

    run(scenario)


def test_a_cursor_of_an_earlier_version_is_still_read(run):
    async def scenario(bench):
        jobs = [job.id for job in await bench.submit("standard", "standard", "standard")]
        await set_arrivals(bench, dict(zip(jobs, (1000, 1001, 1001), strict=True)))
        page = await bench.queue.listing.page(Filter(), 5, read_cursor("1001"))
        assert [record.spec.id for record in page.records] == jobs[:1]

    assert read_cursor("1001") == Cursor(1001)
    run(scenario)


def test_filters_find_what_a_plain_list_of_the_jobs_has(run):
    async def scenario(bench):
        chance, jobs = random.Random(7), []
        for _ in range(60):
            labels = {key: chance.choice("xy") for key in ("team", "album") if chance.random() < 0.7}
            jobs.append(spec(owner=chance.choice([HER, HIM, None]), labels=labels))
            await bench.queue.submit(jobs[-1], MANY)
        states = {}
        for job in jobs:
            states[job.id] = chance.choice([State.QUEUED, State.CANCELED])
            if states[job.id] is State.CANCELED:
                await bench.queue.cancel(job.id)
        for _ in range(40):
            wanted = Filter(
                owner=chance.choice([HER, HIM, None]), state=chance.choice([None, State.QUEUED, State.CANCELED]),
                labels=chance.sample([("team", "x"), ("team", "y"), ("album", "x")], chance.randint(0, 2)),
            )  # fmt: skip
            expected = {
                job.id
                for job in jobs
                if wanted.owner in (None, job.owner)
                and wanted.state in (None, states[job.id])
                and set(wanted.labels) <= set(job.labels.items())
            }
            found, _ = await everything(bench, wanted, count=5)
            assert len(found) == len(expected) and set(found) == expected

    run(scenario)


def test_one_call_looks_at_a_limited_number_of_jobs_and_the_next_goes_on(run):
    """Many jobs have the one label, many have the other, and few have both: the only case that needs many looks."""

    async def scenario(bench):
        jobs = [spec(labels={"team": "x", "album": "a"})]
        jobs += [spec(labels={"team": "x"} if number % 2 else {"album": "a"}) for number in range(48)]
        for job in jobs:
            await bench.queue.submit(job, MANY)
        await set_arrivals(bench, {job.id: 1000 + number for number, job in enumerate(jobs)})
        wanted = Filter(labels=[("team", "x"), ("album", "a")])
        found, pages = await everything(bench, wanted, count=3, looks=10)
        assert found == [jobs[0].id] and pages == 3

    run(scenario)


def test_a_state_that_no_job_has_needs_no_looks(run):
    async def scenario(bench):
        jobs = [job.id for job in await bench.submit(*["standard"] * 25)]
        await bench.queue.cancel(jobs[0])  # the oldest
        found, pages = await everything(bench, Filter(state=State.CANCELED), count=3, looks=1)
        assert found == [jobs[0]] and pages == 1
        assert await everything(bench, Filter(state=State.FAILED), count=3, looks=1) == ([], 1)

    run(scenario)


def test_a_job_that_a_worker_holds_counts_as_queued_until_it_begins(run):
    async def scenario(bench):
        (job,) = await bench.submit("standard")
        await bench.lease()
        assert (await everything(bench, Filter(state=State.QUEUED)))[0] == [job.id]
        await bench.begin(job)
        assert (await everything(bench, Filter(state=State.RUNNING)))[0] == [job.id]
        assert (await everything(bench, Filter(state=State.QUEUED)))[0] == []

    run(scenario)


def test_since_is_the_first_millisecond_that_counts(run):
    async def scenario(bench):
        jobs = [job.id for job in await bench.submit("standard", "standard", "standard")]
        await set_arrivals(bench, dict(zip(jobs, (1000, 1001, 1002), strict=True)))
        assert (await everything(bench, Filter(since_ms=1001)))[0] == [jobs[2], jobs[1]]

    run(scenario)


def test_a_forgotten_job_leaves_no_label(run):
    async def scenario(bench):
        before = await bench.keyspace()
        job = spec(owner=HER, labels={"team": "x", "album": "a: b, c*"})
        await bench.queue.submit(job, MANY)
        assert (await everything(bench, Filter(owner=HER, labels=[("album", "a: b, c*")])))[0] == [job.id]
        await bench.queue.forget(job.id)
        left = {key: value for key, value in (await bench.keyspace()).items() if key not in before}
        assert left.keys() <= {b"rq:queues", b"undegrade:bell:b"} and await bench.traces(job) == []

    run(scenario)
