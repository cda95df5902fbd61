"""The index of jobs by state says what the jobs say, also after an earlier version has worked without it."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain_line import ON_VALKEY
from queue_bench import BUNDLE, MANY, finished, spec

from jobs import redis_keys
from jobs.job_list import CALLS_AT_ONCE, INDEXED_AT_ONCE, Filter
from jobs.record import Progress
from jobs.redis_keys import MAX_RUNNING_COMPARED
from jobs.spec import LANES, queue_name
from jobs.state import State

HER, HIM = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
OWNERS = (HER, HIM, None)


async def indexes(bench) -> dict[str, set[str]]:
    """Returns all indexes by state, without their prefix."""
    keys = [key.decode() async for key in bench.redis.scan_iter(redis_keys.JOBS_IN_STATE + "*")]
    prefix = len(redis_keys.JOBS_IN_STATE)
    return {key[prefix:]: {job.decode() for job in await bench.redis.zrange(key, 0, -1)} for key in keys}


async def plain(bench) -> dict[str, set[str]]:
    """Returns the same, from the record of each job."""
    found: dict[str, set[str]] = {}
    for job in await bench.redis.zrange(redis_keys.JOBS, 0, -1):
        record = await bench.queue.record(job.decode())
        for owner in {"*", record.spec.owner or "*"}:
            found.setdefault(f"{owner}:{record.state.value}", set()).add(job.decode())
    return found


async def mend(bench) -> None:
    for _ in range(100):
        if not await bench.queue.listing.index_states():
            return
    raise AssertionError("the index is never complete")


async def listed(bench, wanted) -> set[str]:
    """Returns the ids of all pages."""
    found, after = [], None
    while True:
        page = await bench.queue.listing.page(wanted, 7, after)
        found += [record.spec.id for record in page.records]
        if page.next is None:
            assert len(found) == len(set(found))
            return set(found)
        after = page.next


class Versions:
    """Steps of this version, and those of one that knows no index.  The latter write what any version writes."""

    def __init__(self, bench, seed):
        self.bench, self.queue, self.redis, self.chance = bench, bench.queue, bench.redis, random.Random(seed)
        self.jobs = []

    async def one_in(self, *states):
        found = [job for job in self.jobs if await self.bench.state(job) in states]
        return self.chance.choice(found) if found else None

    async def submit(self):
        self.jobs.append(spec(owner=self.chance.choice(OWNERS)))
        await self.queue.submit(self.jobs[-1], MANY)

    async def lease(self):
        await self.bench.lease()

    async def begin(self):
        if job := await self.held():
            await self.queue.report("a", job.id, Progress())

    async def held(self):
        leased = {job.decode() for job in await self.redis.zrange(redis_keys.LEASES, 0, -1)}
        found = [job for job in self.jobs if job.id in leased]
        return self.chance.choice(found) if found else None

    async def commit(self):
        if job := await self.held():
            await self.queue.commit("a", [finished(job, self.chance.choice([State.SUCCEEDED, State.FAILED]))])

    async def release(self):
        if job := await self.held():
            await self.queue.release("a", [job.id], died=self.chance.random() < 0.3)

    async def lose(self):
        if job := await self.held():
            await self.bench.end_lease(job)
            await self.queue.reclaim()

    async def cancel(self):
        if job := await self.one_in(State.QUEUED, State.RUNNING):
            await self.queue.cancel(job.id)

    async def late(self):
        self.jobs.append(spec(owner=self.chance.choice(OWNERS), deadline_ms=1))
        await self.queue.submit(self.jobs[-1], MANY)
        await self.queue.expire()

    async def forget(self):
        if self.jobs:
            await self.queue.forget(self.jobs.pop(self.chance.randrange(len(self.jobs))).id)

    async def without_index(self, step):
        before = {key: await self.redis.dump(key) async for key in self.redis.scan_iter(redis_keys.JOBS_IN_STATE + "*")}
        await step()
        async for key in self.redis.scan_iter(redis_keys.JOBS_IN_STATE + "*"):
            await self.redis.delete(key)
        for key, value in before.items():
            await self.redis.restore(key, 0, value)


STEPS = ("submit", "submit", "lease", "begin", "commit", "release", "lose", "cancel", "late", "forget")


@settings(ON_VALKEY, max_examples=15)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=30))
def test_the_index_says_what_the_jobs_say_after_each_step(run, seed, steps):
    async def scenario(bench):
        await bench.redis.flushall()
        versions = Versions(bench, seed)
        for step in steps:
            await getattr(versions, step)()
            assert await indexes(bench) == await plain(bench), step
        assert await bench.queue.listing.index_states() is False
        assert await bench.redis.exists(redis_keys.STATES_CHECK) == 0, "there was nothing to mend"

    run(scenario)


@settings(ON_VALKEY, max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.booleans()), min_size=5, max_size=30),
)
@example(seed=0, steps=[("submit", False)] * 3 + [("forget", True), ("submit", True)])
def test_what_an_earlier_version_did_is_mended(run, seed, steps):
    async def scenario(bench):
        await bench.redis.flushall()
        versions = Versions(bench, seed)
        for step, earlier in steps:
            if earlier:
                await versions.without_index(getattr(versions, step))
            else:
                await getattr(versions, step)()
        await mend(bench)
        expected = await plain(bench)
        assert {key: jobs for key, jobs in (await indexes(bench)).items() if key.startswith("*")} == {
            key: jobs for key, jobs in expected.items() if key.startswith("*")
        }
        for owner in OWNERS:
            for state in State:
                found = await listed(bench, Filter(owner=owner, state=state))
                assert found == expected.get(f"{owner or '*'}:{state.value}", set())

    run(scenario)


def test_before_the_first_pass_each_job_is_asked_for_its_state(run):
    async def scenario(bench):
        versions = Versions(bench, 1)
        for step in ("submit",) * 12 + ("lease", "begin", "commit", "lease", "begin", "cancel", "late"):
            await versions.without_index(getattr(versions, step))
        assert await indexes(bench) == {}
        expected = await plain(bench)
        assert {"*:queued", "*:running", "*:expired"} < expected.keys()
        for state in State:
            assert await listed(bench, Filter(state=state)) == expected.get(f"*:{state.value}", set())
        await mend(bench)
        assert await indexes(bench) == expected

    run(scenario)


def test_a_call_compares_a_limited_number_of_jobs_and_the_next_goes_on(run, monkeypatch):
    monkeypatch.setattr("jobs.job_list.INDEXED_AT_ONCE", 3)
    monkeypatch.setattr("jobs.job_list.CALLS_AT_ONCE", 2)

    async def scenario(bench):
        versions = Versions(bench, 1)
        for _ in range(MAX_RUNNING_COMPARED + 20):
            await versions.without_index(versions.submit)
        more, sizes = True, []
        while more:
            more = await bench.queue.listing.index_states()
            sizes.append(len((await indexes(bench)).get("*:queued", ())))
        assert sizes[0] == MAX_RUNNING_COMPARED + 6 and sizes[-1] == MAX_RUNNING_COMPARED + 20, "the newest, and a part"
        assert max(after - before for before, after in pairwise(sizes)) <= 6

    assert CALLS_AT_ONCE * INDEXED_AT_ONCE >= 1000
    run(scenario)


def test_a_begin_that_an_earlier_worker_reported_is_seen_at_the_next_call(run):
    """It changes no count, so no pass would begin."""

    async def scenario(bench):
        versions = Versions(bench, 1)
        await versions.submit()
        await versions.lease()
        await versions.without_index(versions.begin)
        assert await bench.queue.listing.index_states() is False
        assert await indexes(bench) == await plain(bench)

    run(scenario)


def test_jobs_of_others_in_our_lanes_start_one_pass_only(run):
    """RQ's list has them, and no index: the difference is remembered."""

    async def scenario(bench):
        await bench.submit("bulk")
        await bench.redis.rpush(redis_keys.RQ_QUEUE + queue_name(BUNDLE, "bulk"), "somebody else's")
        await mend(bench)
        assert await bench.redis.hgetall(redis_keys.STATES_CHECK) == {b"accepted": b"1"}
        assert await bench.queue.listing.index_states() is False
        assert await bench.redis.hexists(redis_keys.STATES_CHECK, "number") is False
        assert len(await listed(bench, Filter(state=State.QUEUED))) == 1

    run(scenario)


@pytest.mark.parametrize("owner", OWNERS)
def test_a_job_whose_hash_has_expired_is_in_no_list(run, owner):
    async def scenario(bench):
        job, other = spec(owner=owner), spec(owner=owner)
        for each in (job, other):
            await bench.queue.submit(each, MANY)
            await bench.queue.cancel(each.id)
        await bench.redis.delete(redis_keys.JOB + job.id)
        assert await listed(bench, Filter(owner=owner, state=State.CANCELED)) == {other.id}
        assert await bench.queue.listing.index_states() is False
        await bench.queue.forget(job.id)
        assert job.id not in set().union(*(await indexes(bench)).values())

    run(scenario)


def test_all_lanes_count(run):
    async def scenario(bench):
        await bench.submit(*LANES)
        await bench.lease(2)
        assert await bench.queue.listing.index_states() is False
        assert Counter({key: len(jobs) for key, jobs in (await indexes(bench)).items()}) == {"*:queued": 3}
        assert await bench.redis.exists(redis_keys.STATES_CHECK) == 0

    run(scenario)
