"""Model a device that restores photos of mixed sizes: the real engine and tiles, a device of which the times are known.

The clock is virtual, so an hour of traffic takes seconds and no GPU.  A step takes `--fixed-ms` and `--ms-per-mp` for
each computed megapixel.  Jobs wait in the queue's lanes until the worker has room, as they do in the service.

Compared: `now`, the engine; `before`, the same engine with the square tiles of 768 px of before fitted tiles;
`jobs`, which collects up to 8 jobs or waits 50 ms and runs them to the end; `same`, the engine with pictures of one
size and the same mean area.  100 % load is what the device could do with the tiles of before, all its steps full.

Example: python benchmarks/mixed.py --json
"""

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from conditions import make_parser

from jobs.spec import LANES, JobControls
from models.restoration_report import Report
from models.restorer import Assessment, Continues, Outcome, Request, Restored, Shape, Track, Waits
from models.tracks import cut_into_tiles, padded_size
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.messages import Answer, Done, Failed, Task
from worker.picking import BatchLimits

SIZES = Path(__file__).with_name("photo_sizes.tsv")
STRIDE, NATIVE_PX, OVERLAP_PX, TOGETHER = 64, 1024 * 1024, 96, 8
OLD_TILE_PX = 768
HEAD_START_S = (0.0, 20.0, 300.0)
LANE_SHARES = (70, 20, 10)
CLASSES = ("to 0.5 MP", "to 1 MP", "over 1 MP")
WAIT_S = 0.05
LOADS = (50, 80, 95, 200)
PIXEL = np.zeros((1, 1, 3), np.uint8)  # the engine converts pixels; the model knows the true size by the job's number

Size = tuple[int, int]
Cut = Callable[[Size], list[Size]]


@dataclass(frozen=True)
class Job:
    """A picture (height, width) that arrives at `at_s`."""

    number: int
    at_s: float
    size: Size
    lane: int


@dataclass(frozen=True)
class Costs:
    """What the device needs, in seconds: for a step, and for a call that begins or finishes images."""

    fixed_s: float
    s_per_mp: float
    steps: int
    look_s: float
    finish_s_per_mp: float

    def step_s(self, megapixels: float) -> float:
        return self.fixed_s + self.s_per_mp * megapixels


@dataclass(frozen=True)
class Tiling:
    native_px: int = NATIVE_PX
    overlap_px: int = OVERLAP_PX


@cache
def fitted(size: Size) -> list[Size]:
    """Returns the padded tiles of today."""
    tiles, _ = cut_into_tiles(torch.empty(3, *size, device="meta"), Tiling(), STRIDE, None)
    return [padded_size(tile, STRIDE) for tile in tiles]


@cache
def squares(size: Size) -> list[Size]:
    """Returns the padded tiles of before: squares of 768 px with evenly spaced starts, for reference."""
    if size[0] * size[1] <= NATIVE_PX:
        return [(_up(size[0]), _up(size[1]))]
    counts = [1 if side <= OLD_TILE_PX else -(-(side - OVERLAP_PX) // (OLD_TILE_PX - OVERLAP_PX)) for side in size]
    return [(_up(min(size[0], OLD_TILE_PX)), _up(min(size[1], OLD_TILE_PX)))] * (counts[0] * counts[1])


def _up(side: int) -> int:
    return side + -side % STRIDE


def megapixels(shapes: Sequence[Size]) -> float:
    return sum(height * width for height, width in shapes) / 1e6


@dataclass(eq=False)
class ModelTrack:
    job: int
    shape: Size
    steps: int
    left: list[int]  # tiles of its image that are not finished; shared by them
    step: int = 0
    pass_index: int = 0
    passes: int = 1
    tile: tuple[int, int] = (0, 1)


@dataclass
class ModelRestorer:
    """Follows the interface of restorers and computes nothing; its calls move the clock."""

    jobs: Sequence[Job]
    cut: Cut
    costs: Costs
    now_s: float = 0.0
    computed_mp: float = 0.0
    step_images: list[int] = field(default_factory=list)
    names: tuple[str, ...] = ("noise",)

    def warm_up(self, shapes: Sequence[Shape]) -> None:
        """Nothing to prepare."""

    def assess(self, images: Sequence[torch.Tensor]) -> list[Assessment]:
        self.now_s += self.costs.look_s
        return [Assessment(probabilities={"noise": 1.0}, condition=images[0]) for _ in images]

    def begin(self, requests: Sequence[Request]) -> list[Outcome]:
        self.now_s += self.costs.look_s
        return [self._start(self.jobs[request.controls.seed]) for request in requests]

    def _start(self, job: Job) -> Continues:
        shapes = self.cut(job.size)
        left = [len(shapes)]
        tracks = [ModelTrack(job.number, shape, self.costs.steps, left) for shape in shapes]
        return Continues(tracks=tracks, report=_report(job.number))

    def step(self, tracks: Sequence[Track]) -> None:
        assert len({track.shape for track in tracks}) == 1, "a step has one shape"
        stepped_mp = megapixels([(track.shape[0], track.shape[1]) for track in tracks])
        self.now_s += self.costs.step_s(stepped_mp)
        self.computed_mp += stepped_mp / self.costs.steps
        self.step_images.append(len(tracks))
        for track in tracks:
            track.step += 1  # type: ignore[misc]

    def finish(self, tracks: Sequence[Track]) -> list[Outcome]:
        self.now_s += self.costs.look_s
        self.now_s += self.costs.finish_s_per_mp * megapixels([(t.shape[0], t.shape[1]) for t in tracks])
        return [self._end(track) for track in tracks]

    def _end(self, track: Track) -> Outcome:
        assert isinstance(track, ModelTrack)
        track.left[0] -= 1
        if track.left[0]:
            return Waits()
        return Restored(image=torch.zeros(3, 1, 1), report=_report(track.job))


def _report(seed: int) -> Report:
    return Report(degradations={}, passes=(), stop_reason="", seed=seed, steps=0)


@dataclass(frozen=True)
class Run:
    """What a system did with jobs: their waits from arrival to result, in their order."""

    jobs: Sequence[Job]
    waits_s: Sequence[float]
    jobs_per_s: float
    computed_mp: float  # for each job
    step_images: float

    def percentile_s(self, share: float, wanted: Callable[[Job], bool] = lambda job: True) -> float:
        waits = [wait for job, wait in zip(self.jobs, self.waits_s, strict=True) if wanted(job)]
        return float(np.percentile(waits, share)) if waits else 0.0


class Queue:
    """The lanes: the next job is the head of the lane that has waited longest beyond its head start."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._coming, self._lanes = list(reversed(jobs)), defaultdict[int, list[Job]](list)

    def arrive(self, now_s: float) -> None:
        while self._coming and self._coming[-1].at_s <= now_s:
            job = self._coming.pop()
            self._lanes[job.lane].append(job)

    @property
    def next_arrival_s(self) -> float | None:
        return self._coming[-1].at_s if self._coming else None

    def take(self) -> Job | None:
        heads = [lane for lane in self._lanes.values() if lane]
        if not heads:
            return None
        return min(heads, key=lambda lane: lane[0].at_s + HEAD_START_S[lane[0].lane]).pop(0)


def run_engine(jobs: Sequence[Job], cut: Cut, costs: Costs, held: int) -> Run:
    """The engine, and a worker that holds up to `held` jobs."""
    model, queue, ends = ModelRestorer(jobs, cut, costs), Queue(jobs), {}

    def hear(answer: Answer) -> None:
        assert not isinstance(answer, Failed), answer
        if isinstance(answer, Done):
            ends[int(answer.id)] = model.now_s

    resident = Resident(model, BatchLimits(max_batch=TOGETHER, megapixels=1e9))
    engine, taken = Engine({"": resident}, hear, clock=lambda: model.now_s), 0
    while len(ends) < len(jobs):
        queue.arrive(model.now_s)
        while taken - len(ends) < held and (job := queue.take()):
            controls, taken = JobControls(seed=job.number), taken + 1
            engine.admit(Task(id=str(job.number), pixels=PIXEL, controls=controls, lane=job.lane, since_s=job.at_s))
        if engine.busy:
            engine.turn()
        else:
            model.now_s = queue.next_arrival_s or model.now_s
    return _run(jobs, ends, model)


def run_jobs(jobs: Sequence[Job], cut: Cut, costs: Costs, held: int) -> Run:
    """Job-level batching: up to 8 jobs, or those of 50 ms, run together to the end; equal tiles share steps."""
    model, queue, ends = ModelRestorer(jobs, cut, costs), Queue(jobs), {}
    while len(ends) < len(jobs):
        queue.arrive(model.now_s)
        first = queue.take()
        if first is None:
            model.now_s = queue.next_arrival_s or model.now_s
            continue
        batch, until_s = [first], model.now_s + WAIT_S
        while len(batch) < TOGETHER:
            queue.arrive(model.now_s)
            if job := queue.take():
                batch.append(job)
            elif queue.next_arrival_s and queue.next_arrival_s <= until_s:
                model.now_s = queue.next_arrival_s
            else:
                model.now_s = max(model.now_s, until_s)
                break
        model.now_s += costs.look_s
        tracks = sorted((track for job in batch for track in model._start(job).tracks), key=lambda track: track.shape)
        for _, alike in groupby(tracks, key=lambda track: track.shape):
            together = list(alike)
            for start in range(0, len(together), TOGETHER):
                for _ in range(costs.steps):
                    model.step(together[start : start + TOGETHER])
        model.finish(tracks)
        ends.update(dict.fromkeys((job.number for job in batch), model.now_s))
    return _run(jobs, ends, model)


def _run(jobs: Sequence[Job], ends: dict[int, float], model: ModelRestorer) -> Run:
    waits_s = [ends[job.number] - job.at_s for job in jobs]
    images = sum(model.step_images) / len(model.step_images)
    return Run(jobs, waits_s, len(jobs) / max(ends.values()), model.computed_mp / len(jobs), images)


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
    while len(jobs) < count:
        group = 1 + int(draw.expovariate(1 / 5.5)) if bursty else 1
        at_s += draw.expovariate(rate / (6.0 if bursty else 1.0))
        for _ in range(min(group, count - len(jobs))):
            lane = draw.choices(range(len(LANES)), LANE_SHARES)[0]
            jobs.append(Job(len(jobs), at_s, draw.choice(sizes), lane))
    return jobs


SYSTEMS: dict[str, tuple[Callable[..., Run], Cut]] = {
    "now": (run_engine, fitted), "before": (run_engine, squares), "jobs": (run_jobs, fitted),
    "same": (run_engine, fitted),
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
    """Returns the three figures that the issue sets targets for, of Poisson arrivals."""
    rate = {name: mean([run.jobs_per_s for run in runs["poisson", 200, name]]) for name in ("now", "same")}
    p95 = {name: p95_s(runs["poisson", 80, name]) for name in ("now", "before", "jobs")}
    return {
        "throughput_of_ideal": round(rate["now"] / rate["same"], 3),
        "p95_over_before": round(p95["now"] / p95["before"], 3),
        "p95_over_job_batching": round(p95["now"] / p95["jobs"], 3),
    }


def size_class(job: Job) -> str:
    area_mp = megapixels([job.size])
    return CLASSES[(area_mp > 0.5) + (area_mp > 1.0)]


def table(runs: dict[tuple[str, int, str], list[Run]]) -> str:
    """Returns a Markdown table: a row for each pattern, load and system; waits in seconds."""
    groups: dict[str, Callable[[Job], bool]] = {"all": lambda job: True}
    groups |= {name: (lambda job, name=name: size_class(job) == name) for name in CLASSES}
    groups |= {lane: (lambda job, lane=lane: LANES[job.lane] == lane) for lane in LANES}
    lines = ["| arrivals | load | system | jobs/s | MP a job | images/step | " + " | ".join(groups) + " |"]
    lines.append("|---" * (6 + len(groups)) + "|")
    for (arrivals, load, name), several in runs.items():
        cells = [
            " / ".join(f"{mean([run.percentile_s(share, wanted) for run in several]):.1f}" for share in (50, 95, 99))
            for wanted in groups.values()
        ]
        figures = (mean([getattr(r, key) for r in several]) for key in ("jobs_per_s", "computed_mp", "step_images"))
        start = [arrivals, f"{load} %", name, *(f"{figure:.2f}" for figure in figures)]
        lines.append("| " + " | ".join([*start, *cells]) + " |")
    return "\n".join(lines)


def figure(runs: dict[tuple[str, int, str], list[Run]]) -> str:
    """Returns an SVG: the 95th percentile of waits by size at 80 % load, a bar for each system."""
    names, bars = ("before", "jobs", "now"), []
    colors = {"before": "#9aa5b1", "jobs": "#d9a441", "now": "#2f7d5b"}
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
    parser.add_argument("--held", type=int, default=12, help="jobs that the worker holds: a batch of 8 and 4 ahead")
    parser.add_argument("--jobs", type=int, default=600, help="jobs a run")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each kind, averaged")
    parser.add_argument("--json", action="store_true", help="print one object with the three figures of the targets")
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
