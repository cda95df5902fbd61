"""The counters of quotas, on a real Valkey: what two API processes admit together is exact."""

import asyncio
import math
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from queue_bench import MANY, QueueBench, finished, spec
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import QueueFull, QuotaExceeded
from jobs.job_list import Filter
from jobs.queue import Queue
from jobs.quotas import Quotas, quotas_of
from jobs.spec import Source
from jobs.state import State

OWNER = "0123456789ab"
START_US = 1_800_000_000_000_000


def bucket_by_hand(burst: int, per_s: int, gaps_us: list[int]) -> list[tuple[bool, int]]:
    """A token bucket in exact fractions: whether each request is taken, and how many are left after it."""
    tokens, rows = Fraction(burst), []
    for gap in gaps_us:
        tokens = min(Fraction(burst), tokens + Fraction(gap * per_s, 10**6))
        taken = tokens >= 1
        tokens -= taken
        rows.append((taken, math.floor(tokens)))
    return rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    burst=st.integers(1, 5),
    per_s=st.sampled_from([1, 2, 10, 100]),  # their intervals are whole microseconds
    gaps_ms=st.lists(st.sampled_from([0, 1, 5, 10, 99, 100, 101, 250, 500, 1000, 3000]), min_size=1, max_size=30),
)
def test_a_bucket_empties_and_refills_as_arithmetic_says(run, burst, per_s, gaps_ms):
    quotas = quotas_of({"requests": f"{per_s}/s", "burst": str(burst)})

    async def scenario(bench):
        await bench.redis.flushall()
        now_us, got = START_US, []
        for gap in gaps_ms:
            now_us += gap * 1000
            usage = await bench.queue.quotas.count_request(OWNER, quotas, now_us)
            got.append((usage.counted, usage.requests_left))
        assert got == bucket_by_hand(burst, per_s, [gap * 1000 for gap in gaps_ms])

    run(scenario)


def test_a_refusal_says_when_the_next_request_is_taken_and_not_earlier(run):
    quotas = quotas_of({"requests": "10/s", "burst": "3"})

    async def scenario(bench):
        async def count(at_us):
            return await bench.queue.quotas.count_request(OWNER, quotas, START_US + at_us)

        assert [(await count(0)).requests_left for _ in range(3)] == [2, 1, 0]
        refused = await count(40_000)
        assert (refused.counted, refused.retry_s, refused.full_s) == (False, 0.06, 0.26)
        assert not (await count(99_000)).counted
        assert (await count(100_000)).counted, "a refused request takes nothing"

    run(scenario)


def test_buckets_of_two_callers_and_of_a_smaller_quota_are_their_own(run):
    async def scenario(bench):
        count, large, small = bench.queue.quotas.count_request, {"requests": "100/h"}, {"requests": "1/s"}
        for _ in range(100):
            assert (await count(OWNER, quotas_of(large), START_US)).counted
        assert (await count("another", quotas_of(large), START_US)).counted
        assert not (await count(OWNER, quotas_of(small), START_US)).counted
        assert (await count(OWNER, quotas_of(small), START_US + 10**6)).counted, "an hour's debt ends with the quota"

    run(scenario)


def test_by_redis_own_clock_a_burst_is_taken_and_no_more(run):
    quotas = quotas_of({"requests": "1/h", "burst": "7"})

    async def scenario(bench):
        usages = await asyncio.gather(*(bench.queue.quotas.count_request(OWNER, quotas) for _ in range(20)))
        assert sum(usage.counted for usage in usages) == 7

    run(scenario)


def job(owner: str | None = OWNER, width: int = 1000, height: int = 1000):
    made = spec("standard", owner=owner)
    source = Source(blob=f"{made.id}/input", bytes=9, sha256="", width_px=width, height_px=height, format="png")
    return made.model_copy(update={"source": source})


@pytest.mark.parametrize("owner", [OWNER, None])
def test_two_queues_that_submit_at_once_admit_exactly_the_quota(run, valkey_url, owner):
    quotas = Quotas(jobs=9)

    async def scenario(bench):
        async with Redis.from_url(valkey_url) as another:
            queues = (bench.queue, Queue(another))
            tries = [queues[i % 2].submit(job(owner), MANY, quotas=quotas) for i in range(40)]
            answers = await asyncio.gather(*tries, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, QuotaExceeded)]
        assert len(refused) == 31 and len(answers) - len(refused) == 9
        assert {(error.quota, error.used, error.limit) for error in refused} == {("jobs", 9, 9)}

    run(scenario)


async def end_by_commit(bench):
    leased = await bench.lease_one()
    await bench.queue.commit("a", [finished(leased.spec)])


async def end_by_cancel(bench):
    (record,) = (await bench.queue.listing.page(Filter(), 1)).records
    await bench.queue.cancel(record.spec.id)


async def end_by_forgetting(bench):
    (record,) = (await bench.queue.listing.page(Filter(), 1)).records
    await bench.queue.forget(record.spec.id)


@pytest.mark.parametrize("end", [end_by_commit, end_by_cancel, end_by_forgetting])
@pytest.mark.parametrize("owner", [OWNER, None])
def test_a_running_job_is_in_line_and_an_ended_one_is_not(run, end, owner):
    quotas = Quotas(jobs=1)

    async def scenario(bench):
        await bench.queue.submit(job(owner), MANY, quotas=quotas)
        with pytest.raises(QuotaExceeded):
            await bench.queue.submit(job(owner), MANY, quotas=quotas)
        await end(bench)
        await bench.queue.submit(job(owner), MANY, quotas=quotas)
        assert (await bench.queue.quotas.count_request(owner or redis_keys.ANYBODY, quotas)).jobs == 1

    run(scenario)


def test_a_leased_job_still_counts(run):
    async def scenario(bench):
        await bench.queue.submit(job(), MANY, quotas=Quotas(jobs=1))
        await bench.lease_one()
        with pytest.raises(QuotaExceeded):
            await bench.queue.submit(job(), MANY, quotas=Quotas(jobs=1))

    run(scenario)


def test_a_job_that_a_worker_of_an_earlier_version_ended_does_not_hold_its_place(run):
    """Its script leaves the id in the set."""

    async def scenario(bench):
        quotas, ended = Quotas(jobs=2), job()
        await bench.queue.submit(ended, MANY, quotas=quotas)
        await bench.redis.hset(redis_keys.JOB + ended.id, "state", State.SUCCEEDED)
        await bench.queue.submit(job(), MANY, quotas=quotas)
        assert await bench.redis.scard(redis_keys.IN_LINE + OWNER) == 2, (
            "nothing was counted anew: the line was not full"
        )
        await bench.queue.submit(job(), MANY, quotas=quotas)
        assert await bench.redis.scard(redis_keys.IN_LINE + OWNER) == 2

    run(scenario)


def test_megapixels_are_those_of_accepted_jobs_and_refusals_give_them_back(run):
    quotas = Quotas(megapixels=3)

    async def scenario(bench):
        async def used():
            return (await bench.queue.quotas.count_request(OWNER, quotas)).pixels

        await bench.queue.submit(job(width=1000, height=1500), MANY, quotas=quotas)
        assert await used() == 1_500_000
        with pytest.raises(QuotaExceeded) as over:
            await bench.queue.submit(job(width=1501, height=1000), MANY, quotas=quotas)
        assert (over.value.quota, over.value.used, over.value.limit) == ("megapixels", 1.5, 3)
        assert 0 < over.value.whole_in_s <= 86_400
        with pytest.raises(QueueFull):
            await bench.queue.submit(job(width=100, height=100), 0, quotas=quotas)
        assert await used() == 1_500_000
        await bench.queue.submit(job(width=1500, height=1000), MANY, quotas=quotas)
        assert await used() == 3_000_000

    run(scenario)


def test_the_megapixels_of_a_day_end_at_midnight_utc(run):
    quotas = Quotas(megapixels=3)
    midnight_us = (START_US // 86_400_000_000 + 1) * 86_400_000_000

    async def scenario(bench):
        day = midnight_us // 86_400_000_000 - 1
        await bench.redis.set(f"{redis_keys.QUOTA_PIXELS}{OWNER}:{day}", 2_000_000)
        before = await bench.queue.quotas.count_request(OWNER, quotas, midnight_us - 1_500_000)
        after = await bench.queue.quotas.count_request(OWNER, quotas, midnight_us)
        assert (before.pixels, before.day_left_s) == (2_000_000, 2)
        assert (after.pixels, after.day_left_s) == (0, 86_400)

    run(scenario)


def test_waits_are_counted_for_all_processes_until_given_back_or_no_longer_renewed(run):
    async def scenario(bench):
        counters = bench.queue.quotas
        taken = await asyncio.gather(*(counters.hold_wait(OWNER, f"wait-{i}", 3) for i in range(8)))
        assert sum(taken) == 3
        open_wait = next(f"wait-{i}" for i, ok in enumerate(taken) if ok)
        await counters.release_wait(OWNER, open_wait)
        await counters.renew_waits([(OWNER, open_wait)])  # too late: it stays given back
        assert (await counters.count_request(OWNER, Quotas(waits=3))).waits == 2
        await bench.redis.zadd(redis_keys.QUOTA_WAITS + OWNER, {f"dead-{i}": 1 for i in range(5)})
        assert (await counters.count_request(OWNER, Quotas(waits=3))).waits == 2
        assert await counters.hold_wait(OWNER, "last", 3) and not await counters.hold_wait(OWNER, "more", 3)

    run(scenario)


def test_without_quotas_nothing_of_a_request_is_kept(run):
    async def scenario(bench):
        before = await bench.keyspace()
        await bench.queue.quotas.count_request(OWNER, Quotas(jobs=1, megapixels=1, waits=1))
        assert await bench.keyspace() == before

    run(scenario)


def test_a_recount_draws_a_limited_number_of_jobs_and_gets_all_in_the_end(run, monkeypatch):
    """A worker of an earlier version has ended jobs without taking them out of line."""
    monkeypatch.setattr(redis_keys, "MAX_RECOUNTED", 4)

    async def scenario(bench):
        bench = QueueBench(bench.redis)  # its scripts know the limit
        in_line, recounted = redis_keys.IN_LINE + OWNER, redis_keys.RECOUNTED + OWNER
        await bench.redis.sadd(in_line, *(f"{number:032x}" for number in range(20)))
        sizes = []
        for _ in range(200):
            await bench.redis.delete(recounted)
            usage = await bench.queue.quotas.count_request(OWNER, Quotas(jobs=1))
            sizes.append(usage.jobs)
            if not usage.jobs:
                break
        assert sizes[0] == 16 and sizes[-1] == 0

    run(scenario)
