"""Measure what each script of the queue costs with lines of different lengths.

    submit   a job of one of two keys, or without a key
    lease    one job
    commit   a job that was leased
    cancel   a queued job, anywhere in the line
    place    the place in line of a queued job, anywhere in the line (its forecast)
    list     the first page of jobs of a key

A first table has the CPU time of Redis for a call, and its ratio to the shortest line.  It is the time of the process,
not that of a clock, so that other programs on the machine disturb little.  A second table has a lease of a worker that
serves many bundles.  The lines are written as an earlier version left them, so the time to adopt them is measured, too.

`--repository PATH` measures the scripts of another checkout: one of before, for comparison.

Example: python benchmarks/line_length.py --jobs 1000 10000 100000
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from local_valkey import local_valkey

FILL = """
local first, bundle, lane, spec = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local queue = bundle .. '.' .. lane
for number = first, first + #ARGV - 5 do
    local id = string.format('%08x', (number * 2654435761) % 4294967296) .. string.format('%024x', number)
    local owner = ({'aaaaaaaaaaaa', 'bbbbbbbbbbbb'})[number % 3]
    redis.call('HSET', 'undegrade:job:' .. id, 'spec', (string.gsub(spec, string.rep('0', 32), id)), 'state', 'queued',
        'queue', queue, 'bundle', bundle, 'enqueued_ms', number, 'keep_s', 60, 'request', '{}')
    redis.call('HSET', 'rq:job:' .. id, 'data', ARGV[5 + number - first], 'status', 'queued', 'origin', queue)
    redis.call('RPUSH', 'rq:queue:' .. queue, id)
    redis.call('ZADD', 'undegrade:jobs', number, id)
    redis.call('ZADD', 'undegrade:expiry', number + 604800000, id)
    redis.call('SADD', 'undegrade:in-line:' .. (owner or '-'), id)
    if owner then
        redis.call('HSET', 'undegrade:job:' .. id, 'owner', owner)
        redis.call('ZADD', 'undegrade:jobs:' .. owner, number, id)
    end
end
redis.call('SADD', 'rq:queues', 'rq:queue:' .. queue)
"""
"""What the submit of an earlier version has written, many jobs at a time."""
OWNERS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", None)
BUNDLE, TOKEN, FILLED_AT_ONCE = "bench", "t", 1000
OPERATIONS = ("submit", "lease", "commit", "cancel", "place", "list")


def job_id(number: int) -> str:
    """Returns the id that the filling script gives to a job."""
    return f"{(number * 2654435761) % 2**32:08x}{number:024x}"


class Bench:
    """A queue on a Redis of its own."""

    def __init__(self, redis: Any) -> None:  # noqa: ANN401 - redis-py annotates for sync and async clients at once
        from jobs.queue import Queue  # of the checkout that --repository names

        self.redis, self.queue = redis, Queue(redis)

    async def cpu_us(self) -> float:
        """Returns the CPU time of Redis since its start, in microseconds."""
        info = await self.redis.info("cpu")
        # Not the threads that free memory of an earlier line
        return 1e6 * float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])

    async def cost_us(self, function: Callable[[Any], Awaitable[Any]], arguments: Sequence[Any]) -> float:
        """Returns the CPU time of Redis for a call of the function, which is called with each of the arguments."""
        before = await self.cpu_us()
        for argument in arguments:
            await function(argument)
        return (await self.cpu_us() - before) / len(arguments)

    async def fill(self, jobs: int, bundle: str = BUNDLE, lane: str = "standard", first: int = 1) -> None:
        """Write a line as an earlier version left it."""
        from jobs.rq_format import pack

        text = self.spec("0" * 32, bundle=bundle, lane=lane).dump()
        for start in range(first, first + jobs, FILLED_AT_ONCE):
            ids = [job_id(number) for number in range(start, min(start + FILLED_AT_ONCE, first + jobs))]
            await self.redis.eval(FILL, 0, start, bundle, lane, text, *map(pack, ids))

    def spec(self, job: str, **fields: Any) -> Any:  # noqa: ANN401
        """Returns the spec of a job without an image."""
        from jobs.spec import JobSpec

        return JobSpec(**{"id": job, "bundle": BUNDLE, "lane": "standard", "kind": "noop", "submitted_ms": 1, **fields})

    async def lease(self, max_jobs: int, bundles: Sequence[str] = (BUNDLE,)) -> list[str]:
        """Lease as a worker does."""
        from jobs.spec import LANES

        leased, refused = await self.queue.lease(bundles, LANES, max_jobs, worker="w", token=TOKEN, held=0)
        assert refused == []
        return [job.spec.id for job in leased]

    async def adopt(self, jobs: int) -> float:
        """Let the scripts take the whole line over, while a worker leases one job again and again.

        Returns the CPU time of Redis for a job of the line, in microseconds.
        """
        before = await self.cpu_us()
        for _ in range(jobs // 200 + 1):
            await self.queue.release(TOKEN, await self.lease(1), died=False)
        return (await self.cpu_us() - before) / jobs


async def measure(bench: Bench, jobs: int, calls: int) -> dict[str, float]:
    """Returns microseconds of Redis for a call of each operation, with about so many queued jobs."""
    from jobs.job_list import Filter
    from jobs.lease import Finished
    from jobs.record import Outcome
    from jobs.state import State

    draw, costs = random.Random(jobs), {}
    queue = bench.queue
    await bench.fill(jobs)
    costs["adopt"] = await bench.adopt(jobs)
    new = [bench.spec(UUID(int=draw.getrandbits(128)).hex, owner=OWNERS[i % 3]) for i in range(calls)]
    costs["submit"] = await bench.cost_us(lambda spec: queue.submit(spec, 10**8), new)
    numbers = draw.sample(range(jobs // 2, jobs + 1), 2 * calls)  # the older half is leased
    specs = [bench.spec(job_id(number)) for number in numbers]
    costs["place"] = await bench.cost_us(queue.forecast, specs[calls:])
    before = await bench.cpu_us()
    leased = [job for _ in range(calls) for job in await bench.lease(1)]
    costs["lease"] = (await bench.cpu_us() - before) / calls
    ends = [Finished(id=job, state=State.SUCCEEDED, outcome=Outcome(), keep_s=60) for job in leased]
    costs["commit"] = await bench.cost_us(lambda end: queue.commit(TOKEN, [end]), ends)
    costs["cancel"] = await bench.cost_us(lambda spec: queue.cancel(spec.id), specs[:calls])
    page = queue.listing.page
    costs["list"] = await bench.cost_us(lambda owner: page(Filter(owner=owner), 20), [OWNERS[0]] * calls)
    return costs


async def measure_bundles(bench: Bench, bundles: int, calls: int) -> float:
    """Returns microseconds of Redis for a lease of one job, by a worker of so many bundles with jobs in each lane."""
    from jobs.spec import LANES

    names = [f"bundle-{number}" for number in range(bundles)]
    for place, name in enumerate(names):
        for at, lane in enumerate(LANES):
            await bench.fill(calls + 10, name, lane, 1 + 10_000 * (3 * place + at))
    await bench.lease(0, names)
    return await bench.cost_us(lambda bundles: bench.lease(1, bundles), [names] * calls)


async def report(url: str, args: argparse.Namespace) -> None:
    """Print both tables."""
    from redis.asyncio import Redis

    async with Redis.from_url(url) as redis:
        leases = {}
        for bundles in args.bundles:  # before the long lines, whose memory is given back for a while
            await redis.flushall()
            leases[bundles] = await measure_bundles(Bench(redis), bundles, args.calls // 2)
        rows: dict[int, dict[str, float]] = {}
        for jobs in args.jobs:
            await redis.flushall()
            rows[jobs] = await measure(Bench(redis), jobs, args.calls)
        shortest = rows[args.jobs[0]]
        print(f"| queued jobs | {' | '.join(f'{name} µs' for name in OPERATIONS)} | adopt µs a job |")
        print(f"|---|{'---|' * len(OPERATIONS)}---|")
        for jobs, costs in rows.items():
            cells = [f"{costs[name]:.0f} ({costs[name] / shortest[name]:.2f}x)" for name in OPERATIONS]
            print(f"| {jobs:,} | {' | '.join(cells)} | {costs['adopt']:.1f} |")
        print("\n| bundles, 3 lanes each | lease µs |\n|---|---|")
        for bundles, lease_us in leases.items():
            print(f"| {bundles} | {lease_us:.0f} |")


def main() -> None:
    """Start a Valkey, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10_000, 100_000], help="lengths, to 1,000,000")
    parser.add_argument("--calls", type=int, default=150, help="calls of each operation")
    parser.add_argument("--bundles", type=int, nargs="+", default=[1, 10, 50], help="bundles of a worker")
    parser.add_argument("--repository", type=Path, help="checkout whose scripts are measured; by default this one")
    args = parser.parse_args()
    if min(args.jobs) < 5 * args.calls or max(args.jobs) > 10**6 or min([*args.bundles, args.calls - 1]) < 1:
        parser.error("expected --jobs from 5 times --calls to 1,000,000, --bundles from 1, and --calls from 2")
    if args.repository:
        sys.path.insert(0, str(args.repository))
    with local_valkey() as url:
        asyncio.run(report(url, args))


if __name__ == "__main__":
    main()
