"""A modeled device with a virtual clock, the engine on it, and the two ways of serving that it is compared with.

A step takes fixed seconds and seconds for each computed megapixel; the engine, its tiles and its frames are the real
ones.  benchmarks/mixed.py sends it traffic.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby

import numpy as np
import torch

from jobs.spec import JobControls
from models.frames import FRAMES, Frame, padded_size
from models.restoration_report import Report
from models.restorer import Assessment, Continues, Outcome, Request, Restored, Shape, Track, Waits
from models.tracks import cut_into_tiles
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.messages import Answer, Done, Failed, Task
from worker.picking import BatchLimits

STRIDE, NATIVE_PX, OVERLAP_PX, TOGETHER = 64, 1024 * 1024, 96, 8
OLD_TILE_PX = 768
HEAD_START_S = (0.0, 20.0, 300.0)
WAIT_S = 0.05
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
def fitted(size: Size, frames: tuple[Frame, ...] = FRAMES) -> list[Size]:
    """Returns the padded tiles of today, in frames as on a device with graphs."""
    tiles, _ = cut_into_tiles(torch.empty(3, *size, device="meta"), Tiling(), STRIDE, None, frames)
    return [padded_size(tile.height, tile.width, STRIDE, frames) for tile in tiles]


def unframed(size: Size) -> list[Size]:
    """Returns the padded tiles without frames: pictures of one size need no common shapes."""
    return fitted(size, ())


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
