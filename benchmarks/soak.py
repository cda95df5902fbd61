"""Run the service under a steady mixed load, and say how much memory, descriptors and latency grow (`make soak`).

The processes are real: Valkey, api, worker with an engine and decoders, and webhooks; the bundle is a small random one,
so that thousands of jobs fit into minutes.  Each interval records the resident memory and the descriptors of each part,
the memory of Redis, and p50 and p99 of the requests that wait for a picture.  After the warm-up, each series gets its
growth in a day, with an interval of 95 % (benchmarks/soak_slopes.py).

Exit code 1 if a job failed or went missing, or if the lower bound of a growth of memory or of descriptors is above
the goal.  "open" means: the run is too short to tell.

Example: python benchmarks/soak.py --minutes 60 --out benchmarks/results/DATE_cpu_soak.md
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from conditions import header, make_parser
from redis.asyncio import Redis
from soak_figure import draw
from soak_load import Account, Load
from soak_parts import Parts, measure, running
from soak_slopes import LEAST_SAMPLES, Slope, slope

from jobs.redis_keys import LEASES, RQ_QUEUES

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
GOAL_PERCENT = 1.0
HOOKS_S = 60.0
"""How long a webhook may be under way at the end."""
EXPECTED_FAILURES = {"bad-image", "unsupported-format"}
"""How jobs of damaged files end, which the load contains."""

Rows = Sequence[Mapping[str, float]]


async def record(
    parts: Parts, load: Load, account: Account, minutes: float, interval_s: float
) -> list[dict[str, float]]:
    """Load the service and measure it each interval; returns a row for each, with "at_s".

    Raises:
        RuntimeError: a process has ended.
    """
    rows: list[dict[str, float]] = []
    start_s = time.monotonic()
    end_s = start_s + 60 * minutes
    loading = asyncio.create_task(load.run(end_s))
    async with Redis.from_url(parts.redis_url) as redis:
        while (next_s := start_s + (len(rows) + 1) * interval_s) <= end_s:
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            if log := parts.ended():
                raise RuntimeError(log)
            row = {"at_s": time.monotonic() - start_s, **await measure(parts, redis)}
            if latencies := account.take():
                row["p50 ms"], row["p99 ms"] = (float(1000 * v) for v in np.percentile(latencies, [50, 99]))
            rows.append(row)
            sys.stderr.write(f"{row['at_s']:.0f} s: {account.jobs} jobs, {len(account.failures)} failures\n")
        await loading
        account.failures += await unfinished(redis, account)
    return rows


async def unfinished(redis: "Redis", account: Account) -> list[str]:
    """Returns what is wrong at the end: webhooks that have not come, jobs that failed, jobs that never end."""
    until_s = time.monotonic() + HOOKS_S
    while account.hooks and time.monotonic() < until_s:
        await asyncio.sleep(0.5)
    wrong = [f"no webhook came for job {job}" for job in account.hooks]
    while (alive := await under_way(redis)) and time.monotonic() < until_s:
        await asyncio.sleep(0.5)
    wrong += [f"{alive} jobs have not ended"] if alive else []
    counters = {name.decode(): int(value) for name, value in (await redis.hgetall("undegrade:counters")).items()}
    for name, count in counters.items():
        code = name.rpartition(":")[2]
        if name.startswith("failed:") and code not in EXPECTED_FAILURES:
            wrong.append(f"{count} jobs failed with {code}")
    return wrong


async def under_way(redis: "Redis") -> int:
    """Returns how many jobs are queued or leased."""
    queues = await redis.smembers(RQ_QUEUES)
    waiting = [await redis.llen(name) for name in queues]
    return int(sum(waiting) + await redis.zcard(LEASES))


def slopes(rows: Rows, warm_up_s: float) -> dict[str, Slope]:
    """Returns the growth of each series after the warm-up; series with too few samples are left out."""
    kept = [row for row in rows if row["at_s"] > warm_up_s]
    names = dict.fromkeys(name for row in kept for name in row if name != "at_s")
    found = {}
    for name in names:
        own = [row for row in kept if name in row]
        if len(own) >= LEAST_SAMPLES:
            found[name] = slope([row["at_s"] for row in own], [row[name] for row in own])
    return found


def table(found: Mapping[str, Slope], goal_percent: float) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = ["| series | mean | growth, % a day | 95 % interval | goal |", "|---|---|---|---|---|"]
    for name, each in found.items():
        mean = f"{each.mean / 2**20:.1f} MiB" if name.endswith("memory") else f"{each.mean:.1f}"
        held = each.verdict(goal_percent) if counts(name) else "no goal"
        lines.append(f"| {name} | {mean} | {each.percent:+.1f} | {each.low:+.1f} to {each.high:+.1f} | {held} |")
    return lines


def counts(name: str) -> bool:
    """Whether a series can fail the run: latency on a shared machine follows what else runs there."""
    return not name.endswith(" ms")


def report(rows: Rows, account: Account, options: argparse.Namespace) -> tuple[list[str], bool]:
    """Returns the lines of the result, and whether the run is good."""
    warm_up_s = 60 * options.warm_up if options.warm_up is not None else 0.25 * 60 * options.minutes
    found = slopes(rows, warm_up_s)
    growing = [name for name, each in found.items() if counts(name) and each.verdict(options.goal) == "grows"]
    requests = ", ".join(f"{kind} {count}" for kind, count in sorted(account.requests.items()))
    lines = [
        header(f"{options.minutes:g} minutes", f"{options.rate:g} requests/s", f"seed {options.seed}"), "",
        f"{account.jobs} jobs, {len(rows)} samples, warm-up of {warm_up_s / 60:g} minutes left out. Requests:",
        f"{requests}.",
        "", *table(found, options.goal), "",
        f"Goal: at most {options.goal:g} % a day. `holds`: the whole interval is within it. `grows`: the whole",
        "interval is above it. `open`: this run is too short to tell.", "",
        f"Failures: {len(account.failures)}. Series that grow: {', '.join(growing) or 'none'}.",
        *(f"- {failure[:300]}" for failure in account.failures[:20]),
    ]  # fmt: skip
    return lines, not account.failures and not growing


def main() -> int:
    """Run, print the result, and write the files that are asked for."""
    options = parse()
    account = Account()
    sys.path.append(str(SUPPORT))
    from random_bundle import write_random_bundle
    from webhook_receiver import Received, Receiver

    with tempfile.TemporaryDirectory() as folder, Receiver().listening() as receiver:
        bundle = Path(folder) / "autodir-small"
        write_random_bundle(bundle)

        def on_request(request: Received) -> None:
            account.heard(request.body)
            receiver.requests.clear()

        receiver.on_request = on_request
        with running(bundle, receiver.origin, dict(entry.split("=", 1) for entry in options.env)) as parts:
            load = Load(parts.url, f"{receiver.origin}/hook", options.rate, options.seed, account)
            rows = asyncio.run(record(parts, load, account, options.minutes, options.interval))
    lines, good = report(rows, account, options)
    print("\n".join(lines))
    if options.rows:
        options.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    if options.figure:
        options.figure.write_text(draw(rows))
    return 0 if good else 1


def parse() -> argparse.Namespace:
    """Returns the options; errors end the program."""
    parser = make_parser(__doc__)
    parser.add_argument("--minutes", type=float, help="length of the load (default: 60)")
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between two samples (default: 60)")
    parser.add_argument("--warm-up", type=float, help="minutes left out at the start (default: a quarter of the run)")
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second, on average (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (default: 0)")
    parser.add_argument("--goal", type=float, default=GOAL_PERCENT, help="most growth, percent a day (default: 1)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting of the processes")
    parser.add_argument("--out", type=Path, help="write the result here (Markdown)")
    parser.add_argument("--figure", type=Path, help="draw the series here (SVG)")
    parser.add_argument("--rows", type=Path, help="write the samples here (JSON lines)")
    options = parser.parse_args()
    if options.minutes is not None and options.hours is not None:
        parser.error("give --minutes or --hours, not both")
    options.minutes = 60 * options.hours if options.hours is not None else options.minutes or 60.0
    samples = 0.75 * 60 * options.minutes / options.interval if options.interval > 0 else 0
    if min(options.minutes, options.interval, options.rate) <= 0 or samples < LEAST_SAMPLES:
        parser.error(
            f"expected at least {LEAST_SAMPLES} samples after the warm-up, got {max(0, int(samples))}: give more "
            "--minutes, or fewer seconds as --interval"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
