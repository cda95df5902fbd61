"""Estimates what images would cost before they are sent, from what jobs of the same kind have cost lately."""

import asyncio
from collections.abc import Sequence

from pydantic import BaseModel

from jobs.cost_model import CostModel, learn, recent_costs
from jobs.drain_rate import seconds_per_job
from jobs.forecast import forecast
from jobs.queue import Queue
from jobs.record import WorkerInfo
from jobs.spec import Kind, Lane
from service.prompts import passes_asked
from service.request_options import Options

NOTHING_LEARNED = "no job of this kind has succeeded in this bundle lately, so its cost is not known"
NO_WORKER = "no worker of this bundle is ready"


class ImageEstimate(BaseModel):
    """One image.  `seconds`: from its begin to its end on a worker without other jobs; null while nothing is learned.

    `extrapolated`: it is smaller or larger than all images from which the estimate is learned.
    """

    width: int
    height: int
    megapixels: float
    seconds: float | None
    device_seconds: float | None
    extrapolated: bool


class Learned(BaseModel):
    """From what the estimate comes: `fixed_s` + `s_per_megapixel` x megapixels for each of `passes` x `steps` steps."""

    jobs: int
    fixed_s: float
    s_per_megapixel: float
    passes: float
    steps: float
    min_megapixels: float
    max_megapixels: float


class QueueEstimate(BaseModel):
    """Where a job that is sent now stands.  `wait_s`: until it begins; null while it is not known, or `paused`."""

    position: int
    wait_s: float | None
    paused: bool


class MemoryEstimate(BaseModel):
    """Memory of the workers of the bundle.  A large image is computed in tiles, so that it needs no more than this.

    `held_bytes`: what an engine holds of its device, the most of all workers. `device_bytes`: what the smallest device
    has. `megapixels_at_once`: what the smallest computes in one step.
    """

    held_bytes: int | None
    device_bytes: int | None
    megapixels_at_once: float | None


class EstimateBody(BaseModel):
    """`eta_s`: seconds until all images have ended, if they are sent now; `reasons` say why numbers are missing."""

    kind: Kind
    bundle: str
    lane: Lane
    images: list[ImageEstimate]
    device_seconds: float | None
    eta_s: float | None
    queue: QueueEstimate
    memory: MemoryEstimate | None
    workers: int
    learned: Learned | None
    reasons: list[str]


async def estimate(
    queue: Queue, kind: Kind, bundle: str, options: Options, sizes: Sequence[tuple[int, int]], owner: str | None = None
) -> EstimateBody:
    """Return what images of these sizes would cost with these options, from this owner (None: without an API key).

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    lane: Lane = options.lane or "standard"
    model = learn([cost for part in queue.parts() for cost in await recent_costs(part.redis, bundle)], kind)
    workers = [worker for worker in await queue.workers.alive() if worker.bundle == bundle and worker.takes_jobs]
    place = await _place(queue, bundle, lane, owner)
    passes = await asyncio.to_thread(passes_asked, workers, options.controls)
    images = [_image(model, options.controls.steps, passes, width, height) for width, height in sizes]
    device_s = sum(image.device_seconds or 0.0 for image in images) if model else None
    known = model is not None and workers and place.wait_s is not None
    return EstimateBody(
        kind=kind, bundle=bundle, lane=lane, images=images, device_seconds=_rounded(device_s),
        eta_s=_rounded((place.wait_s or 0.0) + _elapsed_s(images, len(workers))) if known else None,
        queue=place, memory=_memory(workers), workers=len(workers), learned=_learned(model),
        reasons=[*([] if model else [NOTHING_LEARNED]), *([] if workers else [NO_WORKER])],
    )  # fmt: skip


def _image(
    model: CostModel | None, steps: int | None, passes: tuple[int | None, bool], width: int, height: int
) -> ImageEstimate:
    """Return the estimate of one image; `passes` are as in `passes_asked`."""
    megapixels = width * height / 1e6
    if model is None:
        return ImageEstimate(
            width=width, height=height, megapixels=megapixels, seconds=None, device_seconds=None, extrapolated=False
        )
    most, exact = passes
    device_s = model.device_s(megapixels, most, steps, exact=exact)
    smallest, largest = model.megapixels
    return ImageEstimate(
        width=width, height=height, megapixels=megapixels, seconds=_rounded(device_s + model.overhead_s),
        device_seconds=_rounded(device_s), extrapolated=not smallest <= megapixels <= largest,
    )  # fmt: skip


def _elapsed_s(images: Sequence[ImageEstimate], workers: int) -> float:
    """Return the seconds of all images on the workers: at least those of the slowest one."""
    seconds = [image.seconds or 0.0 for image in images]
    return max(sum(seconds) / max(1, workers), max(seconds, default=0.0))


async def _place(queue: Queue, bundle: str, lane: Lane, owner: str | None) -> QueueEstimate:
    line = await queue.line(bundle, lane, owner=owner)
    there = forecast("", lane, line.with_new_job(lane))
    assert there, "a job with a place has a forecast"
    per_job_s = seconds_per_job(line.recent_ends)
    empty = not there.position and not line.taken
    wait_s = 0.0 if empty else None if there.eta_s is None or per_job_s is None else max(0.0, there.eta_s - per_job_s)
    return QueueEstimate(
        position=there.position, wait_s=None if there.paused else _rounded(wait_s), paused=there.paused
    )


def _memory(workers: Sequence[WorkerInfo]) -> MemoryEstimate | None:
    if not workers:
        return None
    held = [worker.memory_bytes for worker in workers if worker.memory_bytes]
    device = [worker.device_bytes for worker in workers if worker.device_bytes]
    budget = [worker.budget_mp for worker in workers if worker.budget_mp]
    return MemoryEstimate(
        held_bytes=max(held, default=None), device_bytes=min(device, default=None),
        megapixels_at_once=min(budget, default=None),
    )  # fmt: skip


def _learned(model: CostModel | None) -> Learned | None:
    if model is None:
        return None
    smallest, largest = model.megapixels
    return Learned(
        jobs=model.jobs, fixed_s=model.fixed_s, s_per_megapixel=model.s_per_mp, passes=model.passes, steps=model.steps,
        min_megapixels=smallest, max_megapixels=largest,
    )  # fmt: skip


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
