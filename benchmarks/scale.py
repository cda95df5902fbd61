"""Measure what a job, a worker, a request and an open stream cost, and plan a fleet from it.

    queue    real Valkey servers and modeled workers: jobs/s, CPU of Redis for a job and for a worker, bytes, requests
             to the object store
    memory   bytes of Redis for a queued job, with the usual size of a stream's node and a small one
    api      a real API process: submissions, looks at jobs, results, changes, event streams
    --plan   print what a number of GPUs and photos a second need, from the rates of the newest result

Workers are those of `undegrade worker` but for engine and codec, whose seconds are modeled (modeled_worker.py).
Several servers are shards of one service: each worker leases from all of them, and each asks all of them all the time.

Example: python benchmarks/scale.py --quick
Example: python benchmarks/scale.py --plan --gpus 1000 --photos-per-second 10000
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from capacity_plan import Demand, PlanError, Prices, Rates, check, fit, plan, read_rates
from scale_report import api_tables, figure, memory_table, plan_tables, queue_tables

RESULTS = Path(__file__).with_name("results")
PARTS = ("queue", "memory", "api")


def newest() -> Path:
    """Returns the newest file of rates.  Raises PlanError where there is none."""
    found = sorted(RESULTS.glob("*_scale.json"))
    if not found:
        raise PlanError(f"no file of rates in {RESULTS}: run `python benchmarks/scale.py --out {RESULTS}` first")
    return found[-1]


def load_rates(path: Path | None) -> tuple[Rates, Path]:
    """Returns the rates of a file, by default of the newest.

    Raises:
        PlanError: there is no such file, or it is no file of rates.
    """
    path = path or newest()
    try:
        return read_rates(json.loads(path.read_text())["rates"]), path
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"{path} is no file of rates: {error}. `--out FOLDER` writes one.") from error


def combinations(args: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Yields servers and workers of each row; fewer workers than servers make no row."""
    for servers in args.servers:
        for workers in args.workers:
            if workers >= servers:
                yield servers, workers


async def measure_queue(args: argparse.Namespace) -> list[Any]:
    from modeled_worker import Pace
    from scale_api import small_photo
    from scale_queue import measure

    rows, photo = [], small_photo()
    for servers, workers in combinations(args):
        row = await measure(servers, workers, args.seconds, Pace(args.job_s, args.together), photo)
        tell(f"queue: {servers} servers, {workers} workers: {row.jobs / row.busy_s:.1f} jobs/s")
        rows.append(row)
    return rows


async def measure_memory(jobs: int) -> dict[int, float]:
    """Returns bytes of a queued job, by the size of a stream's node."""
    from local_valkey import local_valkey
    from queued_jobs import fill
    from redis.asyncio import Redis

    found = {}
    for node_bytes in (4096, 512):
        with local_valkey() as url:
            async with Redis.from_url(url) as redis:
                await redis.config_set("stream-node-max-bytes", node_bytes)
                await fill(redis, 100)
                before = int((await redis.info("memory"))["used_memory"])
                await fill(redis, jobs, 101)
                found[node_bytes] = (int((await redis.info("memory"))["used_memory"]) - before) / jobs
    return found


def rates_of(rows: Sequence[Any], memory: dict[int, float], api: Any) -> tuple[Rates, float]:  # noqa: ANN401
    """Returns the rates of the model, and how well the fit explains the CPU time of Redis (R squared)."""
    from scale_api import PUBLISHED

    spans = [(0, row.workers * row.servers * row.idle_s, row.idle.cpu_s) for row in rows]
    spans += [(row.jobs, row.workers * row.servers * row.busy_s, row.busy.cpu_s) for row in rows]
    job_us, worker_us, explained = fit(*map(list, zip(*spans, strict=True)))
    jobs = sum(row.jobs for row in rows)
    costs = {cost.what: cost for cost in api.costs}

    def api_us(what: str) -> float:
        return 1e6 * costs[what].api_s / max(1, costs[what].calls)

    def redis_us(what: str) -> float:
        return 1e6 * costs[what].redis_s / max(1, costs[what].calls)

    stored = sum(row.jobs + row.warm_jobs for row in rows)
    worked = {name: sum(row.requests.get(name, 0) for row in rows) / stored for name in ("put", "get", "delete")}
    published = sum(row.busy.calls.get("publish", 0) for row in rows) / PUBLISHED / jobs
    rates = Rates(
        redis_job_us=max(0.0, job_us), redis_worker_us=max(0.0, worker_us), redis_look_us=redis_us("look"),
        redis_result_us=redis_us("result"), redis_wait_us=redis_us("wait"), redis_pod_us=redis_us("server second"),
        api_job_us=api_us("submission"), api_look_us=api_us("look"), api_result_us=api_us("result"),
        api_wait_us=api_us("wait"), api_server_us=api_us("server second"), api_stream_us=api_us("stream second"),
        api_event_us=api_us("event delivered"), events=published,
        redis_job_bytes=sum(row.busy.in_bytes + row.busy.out_bytes for row in rows) / jobs,
        queued_bytes=memory[4096], ended_bytes=api.job_bytes + INDEX_BYTES, stream_bytes=max(0.0, api.stream_bytes),
        store_puts=worked["put"], store_gets=worked["get"], store_deletes=worked["delete"] + SWEPT,
    )  # fmt: skip
    return rates, explained


INDEX_BYTES = 600.0
"""Assumed: the entries of an ended job in six sorted sets and sets, about 100 bytes each."""
SWEPT = 1.0
"""By the code: the sweep deletes the result once it has expired; no run is long enough to see it."""


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def conditions(args: argparse.Namespace) -> str:
    load = "/".join(f"{number:.1f}" for number in os.getloadavg())
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {load}, python {platform.python_version()}; "
        f"`python benchmarks/scale.py {' '.join(args.words)}`"
    )


async def measure_all(args: argparse.Namespace) -> None:
    """Measure, print the tables, and write files where a folder is given."""
    from scale_api import measure_api
    from scale_pods import measure_servers

    before = conditions(args)
    api = await measure_api(args.requests, args.streams, args.idle_s)
    api.costs.append(await measure_servers(args.shards, args.asking, args.idle_s))
    tell("api: done")
    if args.only_api:
        print("\n\n".join([f"Measured on: {before}", *api_tables(api)]))
        return
    memory = await measure_memory(args.queued)
    tell("memory: done")
    rows = await measure_queue(args)
    rates, explained = rates_of(rows, memory, api)
    text = "\n\n".join(
        [f"Measured on: {before}", *queue_tables(rows, rates, explained), memory_table(memory), *api_tables(api)]
    )
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        name = time.strftime("%Y-%m-%d") + "_cpu_scale"
        content = {
            "conditions": before, "explained": explained, "rates": asdict(rates), "memory": memory, "api": asdict(api),
            "queue": [asdict(row) for row in rows],
        }  # fmt: skip
        (args.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        (args.out / f"{name}.md").write_text(f"# What a job costs around the engine\n\n{text}\n")


def print_plan(args: argparse.Namespace) -> None:
    """Print the plan, its cost, and the rates that it stands on."""
    demand = Demand(**{entry.name: getattr(args, entry.name) for entry in fields(Demand)})
    prices = Prices(**{entry.name: getattr(args, f"price_{entry.name}") for entry in fields(Prices)})
    check(demand, prices)
    rates, path = load_rates(args.rates)
    if args.figure:
        args.figure.write_text(figure(rates, demand))
    print("\n\n".join(plan_tables(plan(rates, demand), rates, demand, prices, path.name)))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, in less than two minutes on a machine at rest")
    parser.add_argument("--only-api", action="store_true", help="print the tables of the API alone, and write nothing")
    parser.add_argument("--servers", type=int, nargs="+", help="numbers of Valkey servers (1 2 4)")
    parser.add_argument("--workers", type=int, nargs="+", help="numbers of workers (1 10 50 200 500)")
    parser.add_argument("--seconds", type=float, help="of submissions in a row (15)")
    parser.add_argument("--job-s", type=float, default=1.0, help="seconds of a photo in the modeled engine")
    parser.add_argument("--together", type=int, default=8, help="photos that a modeled engine runs at a time")
    parser.add_argument("--requests", type=int, help="requests of each kind to the API (1000)")
    parser.add_argument("--streams", type=int, help="open event streams; with --plan: in the whole fleet (0)")
    parser.add_argument("--idle-s", type=float, default=5.0, help="seconds for which the streams are left alone")
    parser.add_argument("--shards", type=int, default=4, help="servers that an idle API process checks (4)")
    parser.add_argument("--asking", type=int, default=100, help="announced workers on each of them (100)")
    parser.add_argument("--queued", type=int, help="queued jobs for the memory (20,000); with --plan (1,000,000)")
    parser.add_argument("--out", type=Path, help="write the rates (JSON) and the tables (markdown) into this folder")
    group = parser.add_argument_group("plan")
    group.add_argument("--plan", action="store_true", help="print a plan instead of measuring")
    group.add_argument("--rates", type=Path, help="file of rates; by default the newest in benchmarks/results")
    group.add_argument("--figure", type=Path, help="also write servers and pods by photos a second (SVG) to this file")
    for entry in fields(Demand):
        if entry.name not in ("streams", "queued"):
            kind = int if entry.name in ("gpus", "cells") else float
            group.add_argument(
                f"--{entry.name.replace('_', '-')}", type=kind, default=DEMAND.get(entry.name, entry.default)
            )
    for entry in fields(Prices):
        group.add_argument(f"--price-{entry.name.replace('_', '-')}", type=float, default=entry.default)
    return parser


DEMAND = {"gpus": 1000, "photos_per_second": 10_000.0}
FULL = {"servers": [1, 2, 4], "workers": [1, 10, 50, 200, 500], "seconds": 15.0, "requests": 1000, "streams": 1000,
        "queued": 20_000}  # fmt: skip
QUICK = {"servers": [1, 2, 4], "workers": [2, 8], "seconds": 5.0, "requests": 100, "streams": 200, "queued": 2000}
FLEET = {"streams": 0, "queued": 1_000_000}


def main() -> None:
    """Measure, or plan."""
    parser = make_parser()
    args = parser.parse_args()
    args.words = sys.argv[1:]
    for name, value in {**(QUICK if args.quick else FULL), **(FLEET if args.plan else {})}.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.plan:
        try:
            print_plan(args)
        except PlanError as error:
            parser.error(str(error))
        return
    numbers = [*args.servers, *args.workers, args.requests, args.streams, args.queued, args.together]
    if min(numbers) < 1 or min(args.seconds, args.job_s, args.idle_s) <= 0:
        parser.error("expected numbers from 1, and seconds above 0")
    if len(list(combinations(args))) < 2:
        parser.error(
            "expected at least two rows with as many workers as servers: the fit tells jobs from workers by them"
        )
    asyncio.run(measure_all(args))


if __name__ == "__main__":
    main()
