"""The stage of AutoDIR at full size: the published loop against ours, eager, as graphs and compiled."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from statistics import median

import autodir
import numpy as np
import torch
from conditions import Timer
from torch import Tensor

from gpu_stages.facts import matmul_tflops
from gpu_stages.options import Options
from gpu_stages.runner import Row
from models.autodir.config import LoopConfig
from models.autodir.cuda_graphs import FastPerShape, Function, graph_maker
from models.autodir.restorer import AutoDIR
from models.autodir.speed import warm_up
from models.controls import Controls
from models.device import Speed
from models.drive import restore_all
from models.psnr import psnr
from models.restorer import Continues, Request, Track

COMPILE_S = 90.0
"""Compiling the U-Net for one shape takes about so long; it is begun only if so much time is left."""


@contextmanager
def exact_float32() -> Iterator[None]:
    """No TF32: by default cuDNN's convolutions of float32 keep 10 bits only, which is no reference."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def autodir_pass(options: Options) -> Iterator[Row]:
    """Random weights: images/s of a whole pass, ms per step with its two terms a and b, PSNR to float32, TFLOP/s.

    "of ceiling" is the share of what half-precision matrix products reach on this device.
    """
    device, tiny = options.device, options.tiny
    side, steps, scale = (64, 4, "tiny") if tiny else (512, 50, "full")
    batches = (1, 2) if tiny else (1, 4, 8, 16)
    config = replace(autodir.CONFIGS[scale], loop=LoopConfig(steps=steps, native_px=side * side))
    model = autodir.build(config, device)
    images = [
        torch.rand(3, side, side, generator=torch.Generator().manual_seed(n)) * 2 - 1 for n in range(max(batches))
    ]
    with exact_float32():
        exact = autodir.Reference(model, steps, autocast=False, explicit=False)(images[0], 0)
    work, ceiling = (
        autodir.flops(config, side, steps),
        matmul_tflops(options, torch.float16 if options.on_cuda else torch.float32),
    )
    published_rate = 0.0

    def row(way: str, batch: int, seconds: float, n: int, picture: Tensor) -> Row:
        rate, tflops = batch / seconds, batch / seconds * work / 1e12
        return {
            "way": way, "batch": batch, "images/s": rate, "n": n, "of published": rate / (published_rate or rate),
            "PSNR dB": psnr(picture.cpu(), exact.cpu(), peak=2), "TFLOP/s": tflops, "of ceiling": tflops / ceiling,
        }  # fmt: skip

    for explicit in (True, False):  # the second, with torch's attention, is what ours is compared with
        reference = autodir.Reference(model, steps, autocast=options.on_cuda, explicit=explicit)
        seconds, _, picture = autodir.measure(partial(reference, images[0], 0), device, 1)
        yield row(f"published, {'explicit' if explicit else 'torch'} attention", 1, seconds, 1, picture)
        published_rate = 1 / seconds
    model.assessor.forget_prompts()
    for way, prepare in ways(model, options).items():
        points = []
        for batch in batches if way in ("eager", "graphs") else batches[:1] + batches[2:3]:
            if way not in ("eager", "graphs") and options.left_s() < COMPILE_S:
                yield {"way": way, "batch": batch, "left out": "no time was left"}
                continue
            prepare()
            (refused,) = [made.refused for made in warm_up(model.air, model.assessor, [(batch, side, side)])] or [None]
            if refused:
                yield {"way": way, "batch": batch, "refused": refused}
                continue
            requests = [_request(image, seed) for seed, image in enumerate(images[:batch])]
            repeats = 1 if options.left_s() < 60 or tiny else 3
            action = partial(restore_all, model, requests, together=batch)
            seconds, _, restored = autodir.measure(action, device, repeats)
            yield row(way, batch, seconds, repeats, restored[0].image)
            step_s, n = step_seconds(model, requests, options)
            points.append((batch * side * side / 1e6, step_s))
            yield {"step of": way, "batch": batch, "ms": 1000 * step_s, "n": n}
        if len(points) > 1:
            per_megapixel, fixed = np.polyfit(*zip(*points, strict=True), 1)
            yield {"fit of": way, "a, ms per step": 1000 * float(fixed), "b, ms per MP": 1000 * float(per_megapixel),
                   "points": len(points)}  # fmt: skip
    if not options.on_cuda:
        yield {"way": "graphs and compiled", "left out": "they need CUDA"}


def _request(image: Tensor, seed: int) -> Request:
    return Request(image=image, controls=Controls(prompt=autodir.PROMPT, seed=seed, fidelity=1.0))


def ways(model: AutoDIR, options: Options) -> dict[str, Callable[[], None]]:
    """Returns what prepares the model for each way of running its U-Net, in order; each may be called again.

    Without a graph, a compiled network still pays for its launches, so both are measured.
    """
    speed = Speed.of(options.device)

    def eager() -> None:
        model.accelerate(replace(speed, graphs=False))
        model.air.network = None

    def per_shape(change: Callable[[Function], Function], with_graphs: bool) -> Callable[[], None]:
        def prepare() -> None:
            graph = graph_maker() if with_graphs else None

            def make(function: Function, inputs: Sequence[Tensor]) -> Function:
                changed = change(function)
                return graph(changed, inputs) if graph else changed

            model.air.network = FastPerShape(model.air.eager, make)

        return prepare

    if not options.on_cuda:
        return {"eager": eager}
    compiled = torch.compile(model.air.eager, dynamic=False)  # compiles each shape once, whoever calls it
    return {
        "eager": eager,
        "graphs": per_shape(lambda function: function, True),
        "compiled": per_shape(lambda _function: compiled, False),
        "compiled, as graphs": per_shape(lambda _function: compiled, True),
    }


def step_seconds(model: AutoDIR, requests: Sequence[Request], options: Options) -> tuple[float, int]:
    """Returns the median seconds of one step, and of how many runs of steps.

    A run is a few steps between two synchronizations, as in the engine, where the host is ahead of the device.
    """
    tracks: list[Track] = []
    for outcome in model.begin(requests):
        assert isinstance(outcome, Continues)
        tracks += outcome.tracks
    run = 1 if options.tiny else 7
    model.step(tracks)  # it also encodes
    found = []
    while tracks[0].steps - tracks[0].step >= run:
        with Timer(options.device) as timer:
            for _ in range(run):
                model.step(tracks)
        found.append(timer.wall_s / run)
    return median(found), len(found)
