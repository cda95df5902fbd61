"""The tables and the figure of scale.py."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from capacity_plan import Demand, Plan, PlanError, Prices, Rates, cost_per_hour, plan

MOST_COMMANDS = 12


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def queue_tables(rows: Sequence[Any], rates: Rates, explained: float) -> Iterator[str]:
    """Yields the rows, the fit, and the commands of a job."""
    yield table(
        ["servers", "workers", "jobs", "jobs/s", "Redis CPU, share of a core each", "idle: µs a worker and second",
         "bytes a job"],
        [
            [row.servers, row.workers, row.jobs, f"{row.jobs / row.busy_s:.1f}",
             f"{row.busy.cpu_s / row.busy_s / row.servers:.2f}",
             f"{1e6 * row.idle.cpu_s / row.idle_s / row.workers:.0f}",
             f"{(row.busy.in_bytes + row.busy.out_bytes) / row.jobs:,.0f}"]
            for row in rows
        ],
    )  # fmt: skip
    yield (
        f"Fitted to all rows: Redis needs {rates.redis_job_us:.0f} µs for a job and {rates.redis_worker_us:.0f} µs in "
        f"each second for a worker (R squared {explained:.3f})."
    )
    jobs, calls = sum(row.jobs for row in rows), dict[str, int]()
    microseconds = dict[str, int]()
    for row in rows:
        for name, number in row.busy.calls.items():
            calls[name] = calls.get(name, 0) + number
            microseconds[name] = microseconds.get(name, 0) + row.busy.microseconds[name]
    most = sorted(calls, key=lambda name: -microseconds[name])[:MOST_COMMANDS]
    yield table(
        ["command of Redis", "calls a job", "µs a job, by a clock"],
        [[name, f"{calls[name] / jobs:.1f}", f"{microseconds[name] / jobs:.0f}"] for name in most],
    )
    operations, stored = ("put", "get", "delete", "head"), sum(row.jobs + row.warm_jobs for row in rows)
    yield table(
        ["requests to the object store", "a job"],
        [[name, f"{sum(row.requests.get(name, 0) for row in rows) / stored:.2f}"] for name in operations],
    )


def memory_table(memory: Mapping[int, float]) -> str:
    return table(
        ["`stream-node-max-bytes`", "bytes of Redis for a queued job"],
        [[node, f"{size:,.0f}"] for node, size in memory.items()],
    )


def api_tables(api: Any) -> Iterator[str]:  # noqa: ANN401
    """Yields what an API process spends."""
    yield table(
        ["one API process", "calls", "API CPU µs", "Redis CPU µs", "calls/s here", "calls/s of a full core"],
        [
            [cost.what, cost.calls, f"{1e6 * cost.api_s / max(1, cost.calls):.0f}",
             f"{1e6 * cost.redis_s / max(1, cost.calls):.0f}", f"{cost.calls / cost.wall_s:,.0f}",
             f"{cost.calls / cost.api_s:,.0f}" if cost.api_s else "-"]
            for cost in api.costs
        ],
    )  # fmt: skip
    yield (
        f"An open event stream takes {api.stream_bytes / 1024:.0f} KiB of the API's memory ({api.streams} streams). "
        f"The Redis keys of a job that has ended take {api.job_bytes:,.0f} bytes."
    )


def plan_tables(found: Plan, rates: Rates, demand: Demand, prices: Prices, source: str) -> Iterator[str]:
    """Yields the plan, its cost, the assumptions and the rates."""
    yield (
        f"{demand.gpus:,} GPUs, {demand.photos_per_second:,.0f} photos a second. Extrapolated from rates of {source}; "
        "nothing of this size has been run."
    )
    yield table(
        ["needed", "in all", "of each"],
        [
            ["cells (deployments of their own)", found.cells, f"{demand.gpus / found.cells:,.0f} GPUs"],
            ["Redis servers", found.redis, f"{100 * found.redis_busy:.0f} % of a core"],
            ["API pods, a core each", found.pods, f"{100 * found.pod_busy:.0f} % of a core"],
            ["memory of Redis", f"{found.redis_gb:,.0f} GB", f"{found.redis_gb / found.redis:.1f} GB"],
            ["bytes kept in the object store", f"{found.stored_gb / 1000:,.1f} TB", ""],
            ["photos in, results out", f"{found.in_mb_per_s:,.0f} MB/s in, {found.out_mb_per_s:,.0f} MB/s out", ""],
            ["between parts and object store", f"{found.store_mb_per_s:,.0f} MB/s", ""],
            ["to and from Redis", f"{found.redis_mb_per_s:,.0f} MB/s",
             f"{found.redis_mb_per_s / found.redis:,.1f} MB/s"],
            ["memory of the API for streams", f"{demand.streams * rates.stream_bytes / 1e9:,.1f} GB", ""],
            ["object store: PUT, GET, DELETE a second",
             f"{found.puts_per_s:,.0f}, {found.gets_per_s:,.0f}, {found.deletes_per_s:,.0f}", ""],
        ],
    )  # fmt: skip
    costs = cost_per_hour(found, demand, prices)
    yield table(
        ["an hour, with the prices assumed", "cost"],
        [*([name, f"{cost:,.2f}"] for name, cost in costs.items()), ["all", f"{sum(costs.values()):,.2f}"]],
    )
    for name, numbers in (("assumed", demand), ("price assumed", prices), ("measured rate", rates)):
        yield table([name, "value"], [[key, f"{value:,.6g}"] for key, value in asdict(numbers).items()])


def figure(rates: Rates, demand: Demand) -> str:
    """Returns Redis servers and API pods by photos a second, as an SVG; GPUs grow with the photos."""
    top, left, width, height = 20, 60, 560, 260
    shares = [number / 20 for number in range(1, 21)]
    lines: dict[str, list[tuple[float, int]]] = {"Redis servers": [], "API pods": [], "cells": []}
    for share in shares:
        part = replace(
            demand, photos_per_second=demand.photos_per_second * share, gpus=max(1, round(demand.gpus * share)),
            queued=round(demand.queued * share), streams=round(demand.streams * share),
        )  # fmt: skip
        try:
            found = plan(rates, part)
        except PlanError:
            continue
        for name, number in (("Redis servers", found.redis), ("API pods", found.pods), ("cells", found.cells)):
            lines[name].append((share, number))
    most = max(number for points in lines.values() for _, number in points)
    body = [f'<path d="M{left} {top}V{top + height}H{left + width}" fill="none" stroke="#222"/>']
    for part_of in (0.0, 0.5, 1.0):
        y, x = top + height * (1 - part_of), left + width * part_of
        body.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{most * part_of:,.0f}</text>')
        photos = demand.photos_per_second * part_of
        body.append(f'<text x="{x:.0f}" y="{top + height + 18}" text-anchor="middle">{photos:,.0f}</text>')
    for number, ((name, points), color) in enumerate(zip(lines.items(), ("#b00", "#06c", "#777"), strict=True)):
        path = " ".join(f"{left + width * x:.1f},{top + height * (1 - y / most):.1f}" for x, y in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        body.append(f'<text x="{left + 15}" y="{top + 15 + 17 * number}" fill="{color}">{name}</text>')
    body.append(f'<text x="{left + width / 2:.0f}" y="{top + height + 36}" text-anchor="middle">photos a second</text>')
    style = 'font-family="sans-serif" font-size="13" fill="#222"'
    size = f"{left + width + 40} {top + height + 46}"
    text = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" {style}>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{text}\n</svg>\n'
    )
