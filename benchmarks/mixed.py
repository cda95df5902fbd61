"""Model a device that restores photos of mixed sizes: the real engine and tiles, a device of which the times are known.

The clock is virtual, so an hour of traffic takes seconds and no GPU.  A step takes `--fixed-ms` and `--ms-per-mp` for
each computed megapixel.  Jobs wait in the queue's lanes until the worker has room, as they do in the service.

Compared: `now`, the engine; `before`, the same engine with the square tiles of 768 px of before fitted tiles; `jobs`,
which collects up to 8 jobs or waits 50 ms and runs them to the end, with those square tiles; `jobs-fitted`, which has
our fitted tiles as well; `same`, the engine with pictures of one size and the same mean area.  100 % load is what the
device could do with the square tiles, all its steps full.  A run sends each size of the list equally often.

Example: python benchmarks/mixed.py --json
"""

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from conditions import make_parser
from modeled_device import (
    TOGETHER,
    Costs,
    Cut,
    Job,
    Run,
    Size,
    fitted,
    megapixels,
    run_engine,
    run_jobs,
    squares,
    unframed,
)

from jobs.spec import LANES

SIZES = Path(__file__).with_name("photo_sizes.tsv")
CLASSES = ("to 0.5 MP", "to 1 MP", "over 1 MP")
LANE_SHARES = (70, 20, 10)
LOADS = (50, 80, 95, 200)


def read_sizes(path: Path = SIZES) -> list[Size]:
    """Returns the committed photo sizes as (height, width)."""
    rows = [line.split("\t") for line in path.read_text().splitlines() if line and line[0].isdigit()]
    return [(int(height), int(width)) for width, height in rows]


def one_size(sizes: Sequence[Size]) -> Size:
    """Returns a 4:3 picture with the mean area."""
    height = (sum(h * w for h, w in sizes) / len(sizes) * 3 / 4) ** 0.5
    return round(height), round(height * 4 / 3)


def traffic(sizes: Sequence[Size], rate: float, count: int, bursty: bool, seed: int) -> list[Job]:
    """Returns jobs that arrive at random, alone or (bursty) six at a time on average; `rate` is in jobs/s."""
    draw, at_s, jobs = random.Random(seed), 0.0, []
    # Each size equally often, so that all runs have one mean area: a few large photos more would hide what is compared
    shown = [size for _ in range(-(-count // len(sizes))) for size in draw.sample(sizes, len(sizes))]
    while len(jobs) < count:
        group = 1 + int(draw.expovariate(1 / 5.5)) if bursty else 1
        at_s += draw.expovariate(rate / (6.0 if bursty else 1.0))
        for _ in range(min(group, count - len(jobs))):
            lane = draw.choices(range(len(LANES)), LANE_SHARES)[0]
            jobs.append(Job(len(jobs), at_s, shown[len(jobs)], lane))
    return jobs


SYSTEMS: dict[str, tuple[Callable[..., Run], Cut]] = {
    "now": (run_engine, fitted), "before": (run_engine, squares), "jobs": (run_jobs, squares),
    "jobs-fitted": (run_jobs, fitted), "same": (run_engine, unframed),
}  # fmt: skip


def capacity(sizes: Sequence[Size], costs: Costs) -> float:
    """Returns 100 % load in jobs/s: square tiles, all steps full."""
    mean_mp = sum(megapixels(squares(size)) for size in sizes) / len(sizes)
    tracks = sum(len(squares(size)) for size in sizes) / len(sizes)
    return 1 / (costs.steps * (costs.s_per_mp * mean_mp + costs.fixed_s * tracks / TOGETHER))


def measure(arguments: argparse.Namespace, costs: Costs) -> dict[tuple[str, int, str], list[Run]]:
    """Returns the runs of each arrival pattern, load and system, one for each seed."""
    sizes = read_sizes()
    full, runs = capacity(sizes, costs), defaultdict(list)
    for arrivals in ("poisson", "bursty"):
        for load in LOADS:
            for name, (run, cut) in SYSTEMS.items():
                print(f"{arrivals} {load} % {name}", file=sys.stderr, flush=True)
                shown = [one_size(sizes)] if name == "same" else sizes
                for seed in range(arguments.seeds):
                    jobs = traffic(shown, full * load / 100, arguments.jobs, arrivals == "bursty", seed)
                    runs[arrivals, load, name].append(run(jobs, cut, costs, arguments.held))
    return runs


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def p95_s(runs: Sequence[Run]) -> float:
    return mean([run.percentile_s(95) for run in runs])


def summary(runs: dict[tuple[str, int, str], list[Run]]) -> dict[str, float]:
    """Returns the figures with targets, of Poisson arrivals, and the last one with fitted tiles on both sides."""
    rate = {name: mean([run.jobs_per_s for run in runs["poisson", 200, name]]) for name in ("now", "same")}
    p95 = {name: p95_s(runs["poisson", 80, name]) for name in ("now", "before", "jobs", "jobs-fitted")}
    return {
        "throughput_of_ideal": round(rate["now"] / rate["same"], 3),
        "p95_over_before": round(p95["now"] / p95["before"], 3),
        "p95_over_job_batching": round(p95["now"] / p95["jobs"], 3),
        "p95_over_job_batching_fitted": round(p95["now"] / p95["jobs-fitted"], 3),
    }


def size_class(job: Job) -> str:
    area_mp = megapixels([job.size])
    return CLASSES[(area_mp > 0.5) + (area_mp > 1.0)]


def waits(runs: Sequence[Run], wanted: Callable[[Job], bool]) -> str:
    """Returns p50 / p95 / p99 in seconds; a dash where no job is wanted."""
    if not any(wanted(job) for job in runs[0].jobs):
        return "-"
    return " / ".join(f"{mean([run.percentile_s(share, wanted) for run in runs]):.1f}" for share in (50, 95, 99))


def table(runs: dict[tuple[str, int, str], list[Run]]) -> str:
    """Returns a Markdown table: a row for each pattern, load and system; waits in seconds."""
    groups: dict[str, Callable[[Job], bool]] = {"all": lambda job: True}
    groups |= {name: (lambda job, name=name: size_class(job) == name) for name in CLASSES}
    groups |= {lane: (lambda job, lane=lane: LANES[job.lane] == lane) for lane in LANES}
    lines = ["| arrivals | load | system | jobs/s | MP a job | images/step | " + " | ".join(groups) + " |"]
    lines.append("|---" * (6 + len(groups)) + "|")
    for (arrivals, load, name), several in runs.items():
        cells = [waits(several, wanted) for wanted in groups.values()]
        figures = (mean([getattr(r, key) for r in several]) for key in ("jobs_per_s", "computed_mp", "step_images"))
        start = [arrivals, f"{load} %", name, *(f"{figure:.2f}" for figure in figures)]
        lines.append("| " + " | ".join([*start, *cells]) + " |")
    return "\n".join(lines)


def figure(runs: dict[tuple[str, int, str], list[Run]]) -> str:
    """Returns an SVG: the 95th percentile of waits by size at 80 % load, a bar for each system."""
    names, bars = ("before", "jobs", "jobs-fitted", "now"), []
    colors = {"before": "#9aa5b1", "jobs": "#d9a441", "jobs-fitted": "#e6c98a", "now": "#2f7d5b"}
    p95 = {
        (group, name): mean(
            [r.percentile_s(95, lambda j, g=group: size_class(j) == g) for r in runs["poisson", 80, name]]
        )
        for group in CLASSES
        for name in names
    }
    scale, y = 420 / max(p95.values()), 40
    for group in CLASSES:
        bars.append(f'<text x="10" y="{y + 30}">{group}</text>')
        for name in names:
            width = p95[group, name] * scale
            bars.append(f'<rect x="110" y="{y}" width="{width:.0f}" height="16" fill="{colors[name]}"/>')
            bars.append(f'<text x="{116 + width:.0f}" y="{y + 13}">{name} {p95[group, name]:.1f} s</text>')
            y += 20
        y += 14
    title = '<text x="10" y="22">95 % of pictures wait less than this at 80 % load (modeled)</text>'
    style = 'font-family="sans-serif" font-size="13" fill="#222"'
    body = "\n".join([title, *bars])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 {y}" {style}>\n'
        f'<rect width="660" height="{y}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--fixed-ms", type=float, default=9.0, help="a step's milliseconds beside its pixels")
    parser.add_argument("--ms-per-mp", type=float, default=20.0, help="a step's milliseconds a computed megapixel")
    parser.add_argument("--steps", type=int, default=20, help="steps a picture")
    parser.add_argument("--look-ms", type=float, default=3.0, help="a call that begins or finishes pictures")
    parser.add_argument("--finish-ms-per-mp", type=float, default=0.0, help="what each megapixel adds at the end")
    parser.add_argument("--held", type=int, default=24, help="jobs that the worker holds: three batches of 8")
    parser.add_argument("--jobs", type=int, default=698, help="jobs a run; a multiple of the 349 sizes is best")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each kind, averaged")
    parser.add_argument("--json", action="store_true", help="print one object with the figures of the targets")
    parser.add_argument("--figure", type=Path, help="write the picture of waits by size (SVG) to this file")
    arguments = parser.parse_args()
    costs = Costs(
        arguments.fixed_ms / 1000, arguments.ms_per_mp / 1000, arguments.steps, arguments.look_ms / 1000,
        arguments.finish_ms_per_mp / 1000,
    )  # fmt: skip
    runs = measure(arguments, costs)
    if arguments.figure:
        arguments.figure.write_text(figure(runs))
    print(json.dumps(summary(runs)) if arguments.json else f"{table(runs)}\n\n{json.dumps(summary(runs))}")


if __name__ == "__main__":
    main()
