"""Measure how long single jobs of one API key wait while another key floods the same lane.

The scripts and the Valkey are real; the workers are modeled: each takes a job when it is free, and works on it for a
time that is drawn.  Their clock is virtual, so that the figures do not depend on the load of the machine.

    solo     the small tenant alone
    shared   a flood of another tenant was submitted before; both in one line, as before fair shares (one owner)
    fair     the same flood, each tenant with its own key

Latency is from submission to end.  Throughput is all jobs by the virtual seconds until the last one has ended.

Example: python benchmarks/fair_share.py --workers 1 4 16
"""

import argparse
import asyncio
import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

from local_valkey import local_valkey
from redis.asyncio import Redis

from jobs.lease import Finished
from jobs.queue import Queue
from jobs.record import Outcome
from jobs.spec import LANES, JobSpec
from jobs.state import State

BUNDLE, FLOOD, SMALL, TOKEN = "bench", "flood", "small", "t"
MAX_QUEUED = 10**7


@dataclass(frozen=True)
class Load:
    """What arrives, and what each job needs; times are virtual seconds."""

    flood: int
    arrivals_s: Sequence[float]
    service_s: Sequence[float]
    """Of the small tenant's jobs."""


@dataclass(frozen=True)
class Run:
    latencies_s: Sequence[float]
    jobs_per_s: float


async def simulate(queue: Queue, load: Load, workers: int, flood_owner: str, small_owner: str, seed: int) -> Run:
    """Run the load through the queue with modeled workers."""
    draw, number = random.Random(seed), count()
    service_s: dict[str, float] = {}
    for _ in range(load.flood):
        job = await submit(queue, flood_owner)
        service_s[job] = service_time(draw)
    started_s: dict[str, float] = {}
    events: list[tuple[float, int, str, str]] = []
    for at_s in load.arrivals_s:
        heapq.heappush(events, (at_s, next(number), "arrive", ""))
    for _ in range(workers):
        heapq.heappush(events, (0.0, next(number), "free", ""))
    idle, latencies, last_s, ended, arrived = 0, {}, 0.0, 0, 0
    while events:
        now_s, _, kind, job = heapq.heappop(events)
        if kind == "arrive":
            job = await submit(queue, small_owner)
            started_s[job], service_s[job] = now_s, load.service_s[arrived]
            arrived += 1
            if idle:
                idle -= 1
                heapq.heappush(events, (now_s, next(number), "free", ""))
            continue
        if job:
            outcome = Finished(id=job, state=State.SUCCEEDED, outcome=Outcome(), keep_s=60)
            assert await queue.commit(TOKEN, [outcome]) == [State.SUCCEEDED]
            ended, last_s = ended + 1, now_s
            if job in started_s:
                latencies[job] = now_s - started_s[job]
        leased, _ = await queue.lease([BUNDLE], LANES, 1, worker="w", token=TOKEN, held=0)
        if leased:
            taken = leased[0].spec.id
            heapq.heappush(events, (now_s + service_s[taken], next(number), "end", taken))
        else:
            idle += 1
    return Run([latencies[job] for job in started_s], ended / last_s)


async def submit(queue: Queue, owner: str) -> str:
    """Submit a job without an image, and return its id."""
    spec = JobSpec(id=uuid4().hex, bundle=BUNDLE, lane="standard", kind="noop", submitted_ms=1, owner=owner)
    await queue.submit(spec, MAX_QUEUED)
    return spec.id


def service_time(draw: random.Random) -> float:
    """Returns seconds with a mean of 1: log-normal, as images and their repairs differ."""
    return draw.lognormvariate(-0.045, 0.3)


def p95(values: Sequence[float]) -> float:
    """Returns the smallest value that at least 95 % do not exceed."""
    ordered = sorted(values)
    return ordered[-(-95 * len(ordered) // 100) - 1]


async def measure(url: str, workers: int, flood: int, singles: int, seed: int) -> str:
    """Returns a row of the table."""
    draw = random.Random(seed)
    lasts_s = flood / workers
    arrivals_s = sorted(draw.uniform(0.02 * lasts_s, 0.9 * lasts_s) for _ in range(singles))
    load = Load(flood, arrivals_s, [service_time(draw) for _ in range(singles)])
    runs = {}
    async with Redis.from_url(url) as redis:
        for name, jobs, owners in (("solo", 0, (FLOOD, SMALL)), ("shared", flood, (FLOOD, FLOOD)),
                                   ("fair", flood, (FLOOD, SMALL))):  # fmt: skip
            await redis.flushall()
            few = Load(jobs, load.arrivals_s, load.service_s)
            runs[name] = await simulate(Queue(redis), few, workers, *owners, seed=seed + 1)
    solo, shared, fair = (p95(runs[name].latencies_s) for name in ("solo", "shared", "fair"))
    throughput = runs["fair"].jobs_per_s / runs["shared"].jobs_per_s
    return (
        f"| {workers} | {solo:.2f} | {shared:.1f} | {fair:.2f} | {fair / solo:.2f} | "
        f"{runs['shared'].jobs_per_s:.2f} | {runs['fair'].jobs_per_s:.2f} | {100 * throughput:.1f} % |"
    )


async def report(url: str, args: argparse.Namespace) -> None:
    """Print the table."""
    print(f"Flood of {args.flood} jobs, {args.singles} single jobs, seed {args.seed}; seconds are virtual.\n")
    names = "solo p95 s", "shared p95 s", "fair p95 s", "fair : solo", "shared jobs/s", "fair jobs/s", "throughput"
    print(f"| workers | {' | '.join(names)} |")
    print("|---|---|---|---|---|---|---|---|")
    for workers in args.workers:
        print(await measure(url, workers, args.flood, args.singles, args.seed), flush=True)


def main() -> None:
    """Start a Valkey, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16], help="modeled workers, a row for each")
    parser.add_argument("--flood", type=int, default=1000, help="jobs that the other tenant has submitted before")
    parser.add_argument("--singles", type=int, default=60, help="jobs of the small tenant, at random times")
    parser.add_argument("--seed", type=int, default=0, help="of arrivals and service times")
    args = parser.parse_args()
    if min([*args.workers, args.flood, args.singles]) < 1:
        parser.error("expected whole numbers from 1")
    with local_valkey() as url:
        asyncio.run(report(url, args))


if __name__ == "__main__":
    main()
