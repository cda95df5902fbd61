"""Lines that an earlier version has written, or works on at the same time: it knows RQ's list only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_line import LIST, ON_VALKEY, QUEUE, STEPS, TENANTS, PlainLine, keys_of_lines, listed, submit
from queue_bench import BUNDLE, spec

from jobs import redis_keys
from jobs.rq_format import pack
from jobs.state import State


async def as_an_earlier_version_left_it(bench) -> None:
    """An earlier version has RQ's list and no line beside it."""
    if keys := await keys_of_lines(bench):
        await bench.redis.delete(*keys)


@pytest.mark.parametrize("at_once", [1, 3, 200])
def test_a_line_of_an_earlier_version_is_leased_whole_and_in_order(run, monkeypatch, at_once):
    monkeypatch.setattr(redis_keys, "MAX_ADOPTED_AT_ONCE", at_once)

    async def scenario(bench):
        line = PlainLine()
        for tenant in ("aaa", "aaa", None, "bbb", "aaa", None, "bbb", "aaa", "ccc", "aaa"):
            line.submit((await submit(bench, tenant))[0], str(tenant))
        back = (await bench.lease(2))[::-1]
        for job in back[::-1]:
            line.lease([job], 1)
        assert set((await bench.queue.release("a", back[::-1], died=False)).values()) == {"queued"}
        for job in back:
            line.put_back(job)
        assert await listed(bench) == line.listed
        await as_an_earlier_version_left_it(bench)
        canceled = line.listed[4]
        assert await bench.queue.cancel(canceled) is State.QUEUED
        line.cancel(canceled)
        places = [(await bench.queue.line(BUNDLE, "standard", job)).place for job in line.listed]
        assert None not in places
        line.submit((await submit(bench, "bbb"))[0], "bbb")
        while line.listed:
            line.lease(await bench.lease(1), 1)
        assert await listed(bench) == []

    run(scenario)


old_steps = st.one_of(
    STEPS,
    st.tuples(st.sampled_from(["old submit", "old lease", "old cancel", "old put back"]), st.integers(0, 30)),
)


@settings(ON_VALKEY, max_examples=10)
@given(steps=st.lists(old_steps, min_size=5, max_size=25), adopted=st.sampled_from([1, 2, 200]))
def test_no_job_is_lost_or_leased_twice_while_an_earlier_version_works_on_the_same_line(
    run, monkeypatch, steps, adopted
):
    """It pushes, pops and searches RQ's list, and knows of nothing else."""
    monkeypatch.setattr(redis_keys, "MAX_ADOPTED_AT_ONCE", adopted)

    async def scenario(bench):
        await bench.redis.flushall()
        queued, leased = set(), []
        for what, number in steps:
            some = sorted(queued)[number % len(queued)] if queued else None
            held = leased[number % len(leased)] if leased else None
            if what == "submit":
                queued |= set(await submit(bench, TENANTS[number]))
            elif what == "old submit":
                keep = await keys_of_lines(bench)
                (job,) = await submit(bench, TENANTS[number % len(TENANTS)])
                await restore_lines(bench, keep)
                queued.add(job)
            elif what == "lease":
                jobs = await bench.lease(number)
                assert len(set(jobs)) == len(jobs) and queued.issuperset(jobs)
                queued -= set(jobs)
                leased += jobs
            elif what == "old lease" and queued:
                job = (await bench.redis.lpop(LIST)).decode()
                await bench.redis.hset(redis_keys.JOB + job, mapping={"state": "running", "lease": "a"})
                queued.remove(job)
                leased.append(job)
            elif what in ("cancel", "old cancel") and some:
                if what == "cancel":
                    await bench.queue.cancel(some)
                else:
                    await bench.redis.lrem(LIST, 1, some)
                    await bench.redis.hset(redis_keys.JOB + some, "state", "canceled")
                queued.remove(some)
            elif what in ("put back", "old put back") and held:
                if what == "put back":
                    await bench.queue.release("a", [held], died=False)
                else:
                    await bench.redis.hset(redis_keys.JOB + held, mapping={"state": "queued", "queued_ms": 1})
                    await bench.redis.hdel(redis_keys.JOB + held, "lease")
                    await bench.redis.lpush(LIST, held)
                leased.remove(held)
                queued.add(held)
        found = []
        for _ in range(len(steps) + 5):
            found += await bench.lease(10)
        assert sorted(found) == sorted(queued)
        assert await listed(bench) == []

    run(scenario)


async def restore_lines(bench, keep) -> None:
    """Give the keys of the lines the values that they had, and leave the others."""
    await as_an_earlier_version_left_it(bench)
    for key, value in keep.items():
        if isinstance(value, bytes):
            await bench.redis.set(key, value)
        else:
            await bench.redis.zadd(key, dict(value))


def test_a_job_as_version_0_1_wrote_it_is_leased(run):
    """The fields of a queued job that version 0.1 wrote, and its list: nothing else is needed to lease it."""

    async def scenario(bench):
        jobs = [spec(owner="aaa"), spec()]
        for job in jobs:
            fields = {
                "spec": job.dump(), "state": "queued", "queue": QUEUE, "bundle": BUNDLE, "enqueued_ms": 5,
                "keep_s": 60, **({"owner": job.owner} if job.owner else {}),
            }  # fmt: skip
            await bench.redis.hset(redis_keys.JOB + job.id, mapping=fields)
            data = pack(job.id)
            await bench.redis.hset(redis_keys.RQ_JOB + job.id, mapping={"data": data, "status": "queued"})
            await bench.redis.rpush(LIST, job.id)
        assert sorted(await bench.lease(5)) == sorted(job.id for job in jobs)

    run(scenario)
