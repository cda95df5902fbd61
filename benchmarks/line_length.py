"""Measure what each script of the queue costs in a short line and in long ones.

    submit         a job of one of two keys, or without a key
    lease          one job
    start          the first report of a worker that has leased a job
    commit         a job that was leased
    delete         a job that has ended
    cancel         a queued job, anywhere in the line
    expire         a queued job whose deadline has passed, at the end of the line
    place          the place in line of a queued job, anywhere in the line (its forecast)
    list           the first page of jobs of a key
    list deep      a page of them from anywhere in the newer half of the line
    list failed    a page of jobs of a key in a state that none of them has
    list queued    a page of the queued jobs of a key, from anywhere in the newer half
    metrics        what /metrics asks of a bundle

The servers run side by side and take turns, a block of calls each, so that other programs on the machine disturb all
alike.  A cell has the CPU time of Redis' main thread for a call, the median over the blocks, and its ratio to that of
the first line in the same block, again the median.  It is the time of the process, not that of a clock.

Further tables: the memory of a queued job; a lease of a worker that serves many bundles; a place in line beside many
running jobs.

The servers have the settings of our Compose file and manifests, SETTINGS; `--server-defaults` leaves them out.
`--repository PATH` measures the scripts of another checkout: one of before, for comparison.

Example: python benchmarks/line_length.py --jobs 1000 100000 1000000
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from local_valkey import local_valkey
from queued_jobs import BUNDLE, OWNERS, fill, job_id, make_spec
from redis_load import main_thread_us

TOKEN = "t"
SETTINGS = {"stream-node-max-bytes": 512, "list-max-listpack-size": -4}
PATIENCE_S = 120
"""For an answer, beside other programs that use all cores."""
Costs = dict[str, float]


class Bench:
    """A line of jobs on a Redis of its own.

    Attributes:
        jobs: its length at the start.  Leases take the oldest, and the benchmark draws from the others.
    """

    def __init__(self, redis: Any, jobs: int) -> None:  # noqa: ANN401 - redis-py annotates for sync and async clients at once
        from jobs.queue import Queue  # of the checkout that --repository names

        self.redis, self.queue, self.jobs = redis, Queue(redis), jobs
        self.draw, self.numbers, self.costs = random.Random(jobs), count(), list[Costs]()
        self.taken: set[int] = set()

    async def cost_us(self, function: Callable[[Any], Awaitable[Any]], arguments: Sequence[Any]) -> float:
        """Returns the CPU time of Redis for a call of the function, which is called with each of the arguments."""
        before = await main_thread_us(self.redis)
        for argument in arguments:
            await function(argument)
        return (await main_thread_us(self.redis) - before) / len(arguments)

    def somewhere(self, calls: int) -> list[str]:
        """Returns the ids of jobs anywhere in the line, each once, but for the fifth that leases may reach."""
        found: list[str] = []
        while len(found) < calls:
            number = self.draw.randint(self.jobs // 5, self.jobs)
            if number not in self.taken:
                self.taken.add(number)
                found.append(job_id(number))
        return found

    async def lease(self, max_jobs: int, bundles: Sequence[str] = (BUNDLE,)) -> list[str]:
        """Lease as a worker does."""
        from jobs.spec import LANES

        leased, refused = await self.queue.lease(bundles, LANES, max_jobs, worker="w", token=TOKEN, held=0)
        assert refused == []
        return [job.spec.id for job in leased]

    async def look(self) -> None:
        """Look as /metrics does."""
        await self.queue.line(BUNDLE)
        await self.queue.backlog(BUNDLE)

    async def block(self, calls: int) -> None:
        """Measure `calls` calls of each operation.  The line is as long afterwards as before."""
        from jobs.job_list import Cursor, Filter
        from jobs.lease import Finished
        from jobs.record import Outcome, Progress
        from jobs.state import State

        queue, costs, page = self.queue, dict[str, float](), self.queue.listing.page
        new = [
            make_spec(UUID(int=self.draw.getrandbits(128)).hex, owner=OWNERS[next(self.numbers) % 3])
            for _ in range(2 * calls)
        ]
        costs["submit"] = await self.cost_us(lambda spec: queue.submit(spec, 10**8), new)
        costs["place"] = await self.cost_us(lambda job: queue.forecast(make_spec(job)), self.somewhere(calls))
        leased: list[str] = []

        async def take(_: int) -> None:
            leased.extend(await self.lease(1))

        costs["lease"] = await self.cost_us(take, range(calls))
        costs["start"] = await self.cost_us(lambda job: queue.report(TOKEN, job, Progress()), leased)
        ends = [Finished(id=job, state=State.SUCCEEDED, outcome=Outcome(), keep_s=60) for job in leased]
        costs["commit"] = await self.cost_us(lambda end: queue.commit(TOKEN, [end]), ends)
        costs["delete"] = await self.cost_us(queue.forget, leased)
        costs["cancel"] = await self.cost_us(queue.cancel, self.somewhere(calls))
        for number in range(calls):
            late = make_spec(UUID(int=self.draw.getrandbits(128)).hex, owner=OWNERS[number % 3], deadline_ms=1)
            await queue.submit(late, 10**8)
        costs["expire"] = await self.cost_us(lambda _: queue.expire(), [0]) / calls
        of_key, failed, queued = (Filter(owner=OWNERS[0], state=state) for state in (None, State.FAILED, State.QUEUED))
        costs["list"] = await self.cost_us(lambda _: page(of_key, 20), range(calls))
        # Of the newer half: further down, a short line may have fewer jobs of the key than a page
        newer = [job_id(self.draw.randint(self.jobs // 2, self.jobs)) for _ in range(4 * calls)]
        times = [ms for ms in await self.redis.zmscore("undegrade:jobs", newer) if ms is not None][:calls]
        after = [Cursor(int(ms)) for ms in times]
        costs["list deep"] = await self.cost_us(lambda cursor: page(of_key, 20, cursor), after)
        costs["list failed"] = await self.cost_us(lambda _: page(failed, 20), range(calls))
        costs["list queued"] = await self.cost_us(lambda cursor: page(queued, 20, cursor), after)
        costs["metrics"] = await self.cost_us(lambda _: self.look(), range(calls))
        self.costs.append(costs)


async def lease_of_many(redis: Any, bundles: int, calls: int) -> float:  # noqa: ANN401
    """Returns microseconds of Redis for a lease of one job, by a worker of so many bundles with jobs in each lane."""
    from jobs.spec import LANES

    bench = Bench(redis, 0)
    names = [f"bundle-{number}" for number in range(bundles)]
    for place, name in enumerate(names):
        for at, lane in enumerate(LANES):
            await fill(redis, calls + 10, 1 + 10_000 * (3 * place + at), bundle=name, lane=lane)
    await bench.lease(0, names)
    return await bench.cost_us(lambda bundles: bench.lease(1, bundles), [names] * calls)


async def place_beside_running(redis: Any, running: int, calls: int) -> float:  # noqa: ANN401
    """Returns microseconds of Redis for a place in line, while workers hold so many jobs of its bundle."""
    bench = Bench(redis, running + calls)
    await fill(redis, bench.jobs)
    for _ in range(0, running, 100):
        await bench.lease(100)
    (last,) = await redis.lrange(f"rq:queue:{BUNDLE}.standard", -1, -1)
    return await bench.cost_us(lambda job: bench.queue.forecast(make_spec(job)), [last.decode()] * calls)


async def lines(clients: Sequence[Any], args: argparse.Namespace) -> None:
    """Measure the operations in all lines, in turn, and print the table."""
    benches = [Bench(redis, jobs) for redis, jobs in zip(clients, args.jobs, strict=True)]
    filled = []
    for bench in benches:
        memory = await memory_bytes(bench.redis)
        start_s, start_us = time.monotonic(), await main_thread_us(bench.redis)
        await fill(bench.redis, bench.jobs)
        bytes_each = (await memory_bytes(bench.redis) - memory) / bench.jobs
        cost_us = (await main_thread_us(bench.redis) - start_us) / bench.jobs
        filled.append((bytes_each, time.monotonic() - start_s, cost_us))
    for number in range(args.blocks + 1):
        for bench in benches if number % 2 else reversed(benches):
            await bench.block(args.calls)
    for bench in benches:
        del bench.costs[0]  # the first block warms up
    print_operations(benches)
    print("\n| queued jobs | memory of Redis, bytes a job | filled in s | CPU of Redis, µs a job |\n|---|---|---|---|")
    for bench, (bytes_each, fill_s, cost_us) in zip(benches, filled, strict=True):
        print(f"| {bench.jobs:,} | {bytes_each:.0f} | {fill_s:.0f} | {cost_us:.0f} |")


def print_operations(benches: Sequence[Bench]) -> None:
    names, shortest = list(benches[0].costs[0]), benches[0]
    print(f"| queued jobs | {' | '.join(f'{name} µs' for name in names)} |")
    print(f"|---|{'---|' * len(names)}", flush=True)
    for bench in benches:
        cells = []
        for name in names:
            ratios = [own[name] / other[name] for own, other in zip(bench.costs, shortest.costs, strict=True)]
            cells.append(f"{median(costs[name] for costs in bench.costs):.0f} ({median(ratios):.2f}x)")
        print(f"| {bench.jobs:,} | {' | '.join(cells)} |", flush=True)


async def memory_bytes(redis: Any) -> int:  # noqa: ANN401
    return int((await redis.info("memory"))["used_memory"])


async def report(urls: Sequence[str], args: argparse.Namespace) -> None:
    """Print all tables."""
    from redis.asyncio import Redis

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Redis.from_url(url, socket_timeout=PATIENCE_S)) for url in urls]
        for client in () if args.server_defaults else clients:
            for name, value in SETTINGS.items():
                await client.config_set(name, value)
        first = clients[0]
        print("| bundles, 3 lanes each | lease µs |\n|---|---|")
        for bundles in args.bundles:
            await first.flushall()
            print(f"| {bundles} | {await lease_of_many(first, bundles, 2 * args.calls):.0f} |", flush=True)
        print("\n| jobs that workers hold | place µs |\n|---|---|")
        for running in args.running:
            await first.flushall()
            print(f"| {running:,} | {await place_beside_running(first, running, args.calls):.0f} |", flush=True)
        await first.flushall()
        print()
        await lines(clients, args)


def main() -> None:
    """Start a Valkey for each line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10_000, 100_000], help="lengths, to 1,000,000")
    parser.add_argument("--calls", type=int, default=25, help="calls of each operation in a block")
    parser.add_argument("--blocks", type=int, default=5, help="blocks of each line")
    parser.add_argument("--bundles", type=int, nargs="*", default=[1, 20, 50], help="bundles of a worker")
    parser.add_argument("--running", type=int, nargs="*", default=[0, 100, 5000], help="jobs that workers hold")
    parser.add_argument("--repository", type=Path, help="checkout whose scripts are measured; by default this one")
    parser.add_argument("--server-defaults", action="store_true", help="leave the servers' settings alone")
    args = parser.parse_args()
    least = 5 * args.calls * (args.blocks + 1)
    if min([args.calls, args.blocks, *args.bundles]) < 1 or min([0, *args.running]) < 0:
        parser.error("expected --calls, --blocks and --bundles from 1, and --running from 0")
    if min(args.jobs) < least or max(args.jobs) > 10**6:
        parser.error(f"expected --jobs from {least:,} (for so many calls) to 1,000,000, got {args.jobs}")
    if args.repository:
        sys.path.insert(0, str(args.repository))
    with ExitStack() as stack:
        urls = [stack.enter_context(local_valkey()) for _ in args.jobs]
        asyncio.run(report(urls, args))


if __name__ == "__main__":
    main()
