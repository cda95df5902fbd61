"""The stage of mixed sizes: photos of 256 to 2048 px through the engine, one at a time and together."""

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from conditions import NOISY_PHOTO
from numpy.typing import NDArray
from PIL import Image

from gpu_stages.idle import Marked, idle_of, kernels_of
from gpu_stages.options import Options
from gpu_stages.runner import Row
from jobs.spec import JobControls
from models.bundle import find_bundle
from models.device import Speed, free_bytes
from models.families import load_restorer
from models.restorer import Restorer
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.engine_startup import PICTURE_SHARE, WARMED
from worker.engine_timer import CudaTimer
from worker.engine_transfers import Transfers
from worker.messages import Answer, Failed, Task
from worker.picking import BatchLimits

KINDS: dict[str, dict[str, Any]] = {
    "as the bundle decides": {},
    "diffusion": {"prompt": "remove the blur", "steps": 20},
}
TOGETHER = 8
PROFILED_PHOTOS = 8


def mixed(options: Options) -> Iterator[Row]:
    """images/s one at a time and together, in turns; then the device's idle time between steps."""
    sides = (64, 96) if options.tiny else (256, 384, 512, 768, 1024, 1536, 2048)
    photos = [np.asarray(picture(side, side * 3 // 4)) for side in sides] * (1 if options.tiny else 3)
    restorer = load(options)
    ways = {"serial": 1, "together": TOGETHER}
    for kind, usual in KINDS.items():
        controls = {**usual, "steps": 2} if options.tiny else usual
        for together in ways.values():  # warm both: caches, kernels and graphs of all shapes
            through_engine(restorer, photos, together, controls, options)
        found: dict[str, list[float]] = {way: [] for way in ways}
        rounds = 2 if options.tiny else 3
        for number in range(rounds):
            for way in list(ways)[:: 1 if number % 2 == 0 else -1]:  # what drifts favors neither
                found[way].append(through_engine(restorer, photos, ways[way], controls, options))
        for way, seconds in found.items():
            gain = median(found["serial"]) / median(seconds)
            yield {"kind": kind, "way": way, "photos": len(photos), "images/s": len(photos) / median(seconds),
                   "of serial": gain, "n": rounds}  # fmt: skip
        yield _idle_row(restorer, photos[:PROFILED_PHOTOS], controls, kind, options)


def _idle_row(
    restorer: Restorer, photos: Sequence[NDArray[np.uint8]], controls: dict[str, Any], kind: str, options: Options
) -> Row:
    """The idle time is a little too long: the profiler slows the host."""
    if not options.on_cuda:
        return {"idle of": kind, "left out": "not available on a CPU"}
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    marked: Any = Marked(restorer)
    with torch.profiler.profile(activities=activities) as profile:
        through_engine(marked, photos, TOGETHER, controls, options)
    idle = idle_of(kernels_of(profile))
    if idle is None:
        return {"idle of": kind, "left out": "the profiler saw no two steps"}
    return {
        "idle of": kind, "between steps p50 ms": median(idle.between_ms),
        "p95 ms": float(np.percentile(idle.between_ms, 95)), "within steps p50 ms": median(idle.within_ms),
        "idle share": idle.share, "steps": len(idle.within_ms),
    }  # fmt: skip


def picture(width: int, height: int) -> Image.Image:
    """Returns a noisy photo of this size."""
    with Image.open(NOISY_PHOTO) as photo:
        return photo.convert("RGB").resize((width, height))


def load(options: Options) -> Restorer:
    """Returns the default bundle, prepared as a worker does."""
    restorer = load_restorer(find_bundle(), options.device, Speed.of(options.device))
    restorer.warm_up(WARMED if options.on_cuda else ())
    return restorer


def engine_of(restorer: Restorer, together: int, answers: list[Answer], options: Options) -> Engine:
    """Returns an engine as a worker starts it."""
    residents = {"": Resident(restorer, BatchLimits(max_batch=together, megapixels=8.0))}
    if not options.on_cuda:
        return Engine(residents, answers.append)
    transfers = Transfers(options.device, int(PICTURE_SHARE * free_bytes(options.device, None)))
    return Engine(residents, answers.append, timer=CudaTimer(options.device), transfers=transfers)


def through_engine(
    restorer: Restorer, photos: Sequence[NDArray[np.uint8]], together: int, controls: dict[str, Any], options: Options
) -> float:
    """Restore all photos, `together` at a time; returns the seconds until the last result is in host memory.

    Raises:
        RuntimeError: a photo failed.
    """
    answers: list[Answer] = []
    engine = engine_of(restorer, together, answers, options)
    start_s = time.perf_counter()
    for index, pixels in enumerate(photos):
        engine.admit(
            Task(id=str(index), pixels=pixels, controls=JobControls(seed=index, **controls), since_s=float(index),
                 send_passes=False)
        )  # fmt: skip
        while engine.busy and together == 1:
            engine.turn()
    while engine.busy:
        engine.turn()
    seconds = time.perf_counter() - start_s
    if failed := [answer for answer in answers if isinstance(answer, Failed)]:
        raise RuntimeError(f"{len(failed)} photos failed: {failed[0].detail}")
    return seconds
