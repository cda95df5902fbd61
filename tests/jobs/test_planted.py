"""Records that somebody else has written into Redis: they stop no list and no job."""

import pytest

from jobs import redis_keys
from jobs.job_list import Filter


@pytest.mark.parametrize("text", ["{bad", "{}", "null", '{"version": "99"}', "\0", '{"id": "' + "x" * 10_000 + '"}'])
def test_an_unreadable_record_is_as_good_as_none(run, text):
    async def scenario(bench):
        await bench.redis.hset(redis_keys.JOB + "e" * 32, mapping={"spec": text, "state": "queued"})
        await bench.redis.zadd(redis_keys.JOBS, {"e" * 32: 5})
        (good,) = await bench.submit("standard")
        assert await bench.queue.record("e" * 32) is None
        assert [record.spec.id for record in (await bench.queue.listing.page(Filter(), 10)).records] == [good.id]

    run(scenario)
