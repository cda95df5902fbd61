"""The filler of long lines writes exactly what submissions write."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from queue_bench import QueueBench
from redis.asyncio import Redis

BY_TIME = (b"undegrade:jobs", b"undegrade:expiry", b"undegrade:firsts:")
"""Indexes in which entries of one millisecond have an order of their own."""
MEMBER = re.compile(r"b'([^']*)'")
TIME = re.compile(r"\d{13}(-\d+)?|\d{4}-\d\d-\d\dT[\d:.]+Z")


@pytest.fixture
def url() -> Iterator[str]:
    from local_valkey import local_valkey

    with local_valkey() as found:
        yield found


def timeless(keyspace: dict[bytes, object]) -> dict[bytes, str]:
    """Returns all keys with their values, without times."""
    return {
        key: TIME.sub("T", repr(sorted(value) if isinstance(value, set) else value)) for key, value in keyspace.items()
    }


def test_a_line_that_is_filled_is_one_of_submissions(monkeypatch, url):
    import queued_jobs

    monkeypatch.setattr(queued_jobs, "JOBS_AT_ONCE", 4)
    numbers, owners = range(1, 11), queued_jobs.OWNERS

    async def main():
        async with Redis.from_url(url) as redis:
            bench = QueueBench(redis)
            for number in numbers:
                owner = owners[number % len(owners)]
                await bench.queue.submit(queued_jobs.make_spec(queued_jobs.job_id(number), owner=owner), 10**8)
            submitted = timeless(await bench.keyspace())
            await redis.flushall()
            await queued_jobs.fill(redis, len(numbers))
            filled = timeless(await bench.keyspace())
        assert filled.keys() == submitted.keys()
        for key, value in submitted.items():
            if not key.startswith(BY_TIME):
                assert filled[key] == value, key
            assert sorted(MEMBER.findall(filled[key])) == sorted(MEMBER.findall(value)), key

    asyncio.run(main())
