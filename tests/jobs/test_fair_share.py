"""Tenants share a lane by their weights, on a real Valkey.  The oracles are a plain list and the theory."""

from fractions import Fraction
from itertools import combinations

import pytest
import rq
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_line import ON_VALKEY, QUEUE, STEPS, TENANTS, PlainLine, keys_of_lines, listed, set_weight, submit
from queue_bench import BUNDLE, MANY, spec
from redis import Redis as BlockingRedis
from rq.registry import StartedJobRegistry

from jobs import redis_keys
from jobs.rq_format import ListedJob
from jobs.state import State


@pytest.mark.parametrize("searched", [500, 0])
@settings(ON_VALKEY, max_examples=10)
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
def test_every_job_is_leased_once_and_in_the_order_of_its_tenant(run, monkeypatch, searched, steps):
    """And RQ's list always has exactly the queued jobs.  With 0, a canceled job's place is taken by the newest one."""
    monkeypatch.setattr(redis_keys, "MAX_SEARCHED", searched)

    async def scenario(bench):
        await bench.redis.flushall()
        line = PlainLine()
        for what, number in steps:
            at = number % max(1, len(line.listed))
            held = line.leased[number % len(line.leased)] if line.leased else None
            if what == "submit":
                line.submit((await submit(bench, TENANTS[number]))[0], str(TENANTS[number]))
            elif what == "lease":
                line.lease(await bench.lease(number), number)
            elif what == "cancel" and line.listed:
                assert await bench.queue.cancel(line.listed[at]) is State.QUEUED
                line.cancel(line.listed[at])
            elif what == "forget" and line.listed:
                assert await bench.queue.forget(line.listed[at]) == 1
                line.cancel(line.listed[at])
            elif what == "put back" and held:
                assert await bench.queue.release("a", [held], died=False) == {held: "queued"}
                line.put_back(held)
            elif what == "die" and held:
                await bench.redis.zadd(redis_keys.LEASES, {held: 1}, xx=True)
                (answer,) = (await bench.queue.reclaim()).values()
                await bench.redis.hdel(redis_keys.JOB + held, "deaths", "alone")
                assert answer == "queued"
                line.put_back(held)
            order = await listed(bench)
            assert order == line.listed if searched else sorted(order) == sorted(line.listed)
        rest = len(line.listed)
        line.lease(await bench.lease(rest + 1), rest + 1)
        assert await keys_of_lines(bench) == {}, "an empty line leaves nothing"

    run(scenario)


@settings(ON_VALKEY, max_examples=6)
@given(
    weights=st.lists(st.one_of(st.integers(1, 9), st.sampled_from([100, 1000])), min_size=2, max_size=4),
    jobs=st.integers(8, 25), at_once=st.integers(1, 7),
)  # fmt: skip
def test_shares_follow_the_weights_within_the_bound_of_the_theory(run, weights, jobs, at_once):
    """Goyal, Vin, Cheng 1996, theorem 1: over any time in which two flows wait, W1/w1 and W2/w2 differ by at most
    1/w1 + 1/w2 (of jobs of length 1)."""

    async def scenario(bench):
        await bench.redis.flushall()
        tenant_of = {}
        for number, weight in enumerate(weights):
            await set_weight(bench, f"key{number}", weight)
            tenant_of |= dict.fromkeys(await submit(bench, f"key{number}", jobs), number)
        order = []
        while len(order) < len(tenant_of):
            order += [tenant_of[job] for job in await bench.lease(at_once)]
        for one, two in combinations(range(len(weights)), 2):
            ahead, least, most = Fraction(0), Fraction(0), Fraction(0)
            served = [0] * len(weights)
            for number in order:
                served[number] += 1
                ahead = Fraction(served[one], weights[one]) - Fraction(served[two], weights[two])
                least, most = min(least, ahead), max(most, ahead)
                if jobs in (served[one], served[two]):
                    break
            assert most - least <= Fraction(1, weights[one]) + Fraction(1, weights[two])

    run(scenario)


@settings(ON_VALKEY, max_examples=6)
@given(
    lines=st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 8)), min_size=1, max_size=4),
    before=st.integers(0, 6),
)
def test_the_place_of_a_job_is_the_number_of_jobs_that_workers_take_before_it(run, lines, before):
    async def scenario(bench):
        await bench.redis.flushall()
        specs = {}
        for number, (weight, jobs) in enumerate(lines):
            await set_weight(bench, f"key{number}", weight)
            for job in [spec(owner=f"key{number}") for _ in range(jobs)]:
                await bench.queue.submit(job, MANY)
                specs[job.id] = job
        for job in await bench.lease(before):
            del specs[job]
        places = {job: (await bench.queue.line(BUNDLE, "standard", job)).place for job in specs}
        assert sorted(places, key=places.__getitem__) == await bench.lease(100)
        assert sorted(places.values()) == list(range(len(specs)))

    run(scenario)


@settings(ON_VALKEY, max_examples=8)
@given(
    lines=st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 6)), min_size=1, max_size=4),
    before=st.integers(0, 12), newcomer=st.integers(0, 4),
)  # fmt: skip
def test_the_place_of_a_newcomer_is_told_before_it_comes(run, lines, before, newcomer):
    """Of a tenant with jobs in line, of one whose jobs have all been leased, or of one who never came before."""
    owner = f"key{newcomer}"

    async def scenario(bench):
        await bench.redis.flushall()
        for number, (weight, jobs) in enumerate(lines):
            await set_weight(bench, f"key{number}", weight)
            for _ in range(jobs):
                await submit(bench, f"key{number}")
        await bench.lease(before)
        told = (await bench.queue.line(BUNDLE, "standard", owner=owner)).new_place
        (job,) = await submit(bench, owner)
        assert (await bench.lease(100)).index(job) == told

    run(scenario)


def test_a_single_job_is_next_although_another_key_has_flooded_the_lane(run):
    async def scenario(bench):
        await submit(bench, "flood", 300)
        await bench.lease(7)
        (single,) = await submit(bench, "small")
        assert (await bench.queue.line(BUNDLE, "standard", single)).place == 0
        assert await bench.lease(1) == [single]

    run(scenario)


def test_no_tenant_starves_when_others_of_any_weight_never_stop(run):
    """Between two jobs of a tenant of weight 1, each tenant of weight w has at most w + 1."""

    async def scenario(bench):
        weights = {"one": 8, "two": 3, "zzz": 1}
        tenant_of = {}
        for tenant, weight in weights.items():
            await set_weight(bench, tenant, weight)
            tenant_of |= dict.fromkeys(await submit(bench, tenant, 10), tenant)
        since, seen = 0, 0
        while seen < 6:
            (job,) = await bench.lease(1)
            since += 1
            if tenant_of[job] == "zzz":
                since, seen = 0, seen + 1
            else:  # its tenant comes at once with another job
                tenant_of |= dict.fromkeys(await submit(bench, tenant_of[job]), tenant_of[job])
            assert since <= sum(weight + 1 for tenant, weight in weights.items() if tenant != "zzz")

    run(scenario)


def test_a_tenant_that_comes_back_at_once_gets_no_second_turn_before_the_others(run):
    """Its line is empty for a moment after each of its jobs, as with a client that waits for each result."""

    async def scenario(bench):
        patient = await submit(bench, "patient", 5)
        turns = []
        await submit(bench, "hasty")
        for _ in range(8):
            (job,) = await bench.lease(1)
            turns.append("patient" if job in patient else "hasty")
            if turns[-1] == "hasty":
                await submit(bench, "hasty")
        assert turns[:2] * 4 == turns and set(turns) == {"patient", "hasty"}

    run(scenario)


def test_a_new_weight_counts_for_jobs_that_are_queued_already(run):
    async def scenario(bench):
        heavy = set(await submit(bench, "heavy", 30))
        await submit(bench, "light", 30)
        assert len(heavy.intersection(await bench.lease(10))) == 5
        await set_weight(bench, "heavy", 4)
        assert len(heavy.intersection(await bench.lease(20))) == 16

    run(scenario)


@pytest.mark.parametrize("record", [b"not JSON", b"[1]", b'{"weight": "x"}', b'{"weight": -5}', b'{"weight": 1e999}'])
def test_a_record_of_a_key_that_cannot_be_read_stops_no_lease(run, record):
    async def scenario(bench):
        await bench.redis.hset(redis_keys.API_KEYS, "odd", record)
        jobs = {*await submit(bench, "odd", 3), *await submit(bench, None, 3)}
        assert set(await bench.lease(9)) == jobs

    run(scenario)


def test_a_job_that_a_stopping_worker_gives_back_costs_its_tenant_nothing(run):
    async def scenario(bench):
        mine = await submit(bench, "mine", 4)
        others = await submit(bench, "other", 4)
        for _ in range(3):
            (job,) = await bench.lease(1)
            assert job == mine[0], "the same job is first again"
            await bench.queue.release("a", [job], died=False)
        assert await bench.lease(4) == [mine[0], others[0], mine[1], others[1]]

    run(scenario)


def test_the_lane_goes_first_that_has_the_oldest_job_whosever_turn_it_is_in_it(run):
    async def scenario(bench):
        now_s = await bench.queue.now_ms() / 1000
        old, in_bulk = spec("interactive", owner="old"), spec("bulk")
        for job in (old, in_bulk, spec("interactive", owner="new")):
            await bench.queue.submit(job, MANY)
        await bench.set_arrival(old, now_s - 100)
        await bench.set_arrival(in_bulk, now_s - 350)  # 50 s beyond its head start
        leased = await bench.lease(3)
        assert leased.index(in_bulk.id) > leased.index(old.id)

    run(scenario)


def test_rq_sees_the_queued_and_the_running_jobs_of_all_tenants(run, valkey_url):
    async def scenario(bench):
        jobs = [*await submit(bench, "flood", 6), *await submit(bench, "small", 2)]
        leased = await bench.lease(3)
        with BlockingRedis.from_url(valkey_url) as blocking:
            queue = rq.Queue(QUEUE, connection=blocking, job_class=ListedJob)
            queued = [job for job in jobs if job not in leased]
            assert queue.count == 5 and queue.get_job_ids() == queued
            assert [queue.get_job_position(job) for job in queued] == [0, 1, 2, 3, 4]
            assert {job.get_status().value for job in queue.get_jobs()} == {"queued"}
            started = StartedJobRegistry(QUEUE, connection=blocking)
            assert sorted(started.get_job_ids(cleanup=False)) == sorted(leased)

    run(scenario)
