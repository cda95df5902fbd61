"""Stages that measure the device and the networks: ceilings, AutoDIR's pass, DA-CLIP's U-Net."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import autodir
import daclip
import numpy as np
import torch
from conditions import Timer
from torch import Tensor

from gpu_stages.options import Options
from gpu_stages.runner import Row
from models.autodir.config import LoopConfig
from models.autodir.cuda_graphs import FastPerShape, Function
from models.autodir.restorer import AutoDIR
from models.autodir.speed import warm_up
from models.controls import Controls
from models.device import Speed
from models.drive import restore_all
from models.psnr import psnr
from models.restorer import Request


def facts(options: Options) -> Iterator[Row]:
    """Card, driver and versions; the measured rates of copies and of matrix products."""
    device = options.device
    yield {"torch": torch.__version__, "cuda": torch.version.cuda, "card": _card(device), "driver": _driver(device)}
    yield {"matmul TFLOP/s": matmul_tflops(options), "host to device GB/s": _copy_rate(options)}


def _card(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _driver(device: torch.device) -> str:
    if device.type != "cuda":
        return "none"
    words = ["nvidia-smi", "--query-gpu=driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"


def matmul_tflops(options: Options) -> float:
    side, dtype = (8192, torch.float16) if options.device.type == "cuda" else (512, torch.float32)
    left = torch.randn(side, side, device=options.device, dtype=dtype)
    for _ in range(3):
        left @ left
    with Timer(options.device) as timer:
        for _ in range(20):
            left @ left
    return float(20 * 2 * side**3 / timer.wall_s / 1e12)


def _copy_rate(options: Options) -> float:
    count = 2**28 if options.device.type == "cuda" else 2**24
    host = torch.empty(count, dtype=torch.uint8)
    host, there = (
        host.pin_memory() if options.device.type == "cuda" else host,
        torch.empty_like(host).to(options.device),
    )
    there.copy_(host)
    with Timer(options.device) as timer:
        there.copy_(host, non_blocking=True)
    return count / timer.wall_s / 1e9


def autodir_pass(options: Options) -> Iterator[Row]:
    """The published loop against ours with random weights: images/s, ms per step, PSNR to float32."""
    side, steps, scale = (64, 2, "tiny") if options.tiny else (512, 50, "full")
    batches = (1, 2) if options.tiny else (1, 4, 8, 16)
    config = replace(autodir.CONFIGS[scale], loop=LoopConfig(steps=steps, native_px=side * side))
    model, device = autodir.build(config, options.device), options.device
    draw = torch.Generator().manual_seed(1)
    images = [torch.rand(3, side, side, generator=draw) * 2 - 1 for _ in range(max(batches))]
    exact = autodir.Reference(model, steps, autocast=False, explicit=False)(images[0], 0)
    work, ceiling = autodir.flops(config, side, steps), matmul_tflops(options)

    def row(way: str, batch: int, seconds: float, picture: Tensor) -> Row:
        tflops = batch / seconds * work / 1e12
        return {
            "way": way, "batch": batch, "images/s": batch / seconds, "ms per step": 1000 * seconds / steps,
            "PSNR dB": psnr(picture.cpu(), exact.cpu(), peak=2), "TFLOP/s": tflops, "of ceiling": tflops / ceiling,
        }  # fmt: skip

    reference = autodir.Reference(model, steps, autocast=device.type == "cuda", explicit=False)
    seconds, _, picture = autodir.measure(partial(reference, images[0], 0), device, 1)
    yield row("published loop", 1, seconds, picture)
    model.assessor.forget_prompts()
    model.accelerate(replace(Speed.of(device), graphs=False))
    for way in ("eager", "graphs", "compiled"):
        if way == "graphs" and device.type == "cuda":
            model.accelerate(Speed.of(device))
        elif way == "compiled" and device.type == "cuda":
            compile_network(model)
        elif way != "eager":
            continue
        points = []
        for batch in batches:
            warm_up(model.air, model.assessor, [(batch, side, side)])
            requests = [
                Request(image=image, controls=Controls(prompt=autodir.PROMPT, seed=seed, fidelity=1.0))
                for seed, image in enumerate(images[:batch])
            ]
            action = partial(restore_all, model, requests, together=batch)
            seconds, _, restored = autodir.measure(action, device, 1)
            points.append((batch * side * side / 1e6, seconds / steps))
            yield row(way, batch, seconds, restored[0].image)
        per_megapixel, fixed = np.polyfit(*zip(*points, strict=True), 1)
        yield {"fit of": way, "a, ms per step": 1000 * float(fixed), "b, ms per MP": 1000 * float(per_megapixel)}


def compile_network(model: AutoDIR) -> None:
    """Compile the U-Net for each shape; FastPerShape checks the answers and refuses what differs."""

    def make(function: Function, inputs: object) -> Function:
        return torch.compile(function, dynamic=False)

    model.air.network = FastPerShape(model.air.eager, make)


def daclip_unet(options: Options) -> Iterator[Row]:
    """One step of DA-CLIP's U-Net, ours against the published way, which changes classes and so comes last."""
    sides, repeats = ((64,), 1) if options.tiny else ((256, 512), 5)
    config = daclip.CONFIGS["daclip"]
    if options.tiny:
        config = replace(config, width=64)
    outputs: dict[int, Tensor] = {}
    with torch.inference_mode():
        for ours in (True, False):
            for side in sides:
                output, wall_s, _ = daclip.step(config, ours, side, repeats, options.device)
                near = "" if ours else psnr(output, outputs[side], peak=float(outputs[side].abs().max()))
                outputs.setdefault(side, output)
                yield {"way": "ours" if ours else "published", "side px": side, "ms per step": 1000 * wall_s,
                       "PSNR of both": near}  # fmt: skip
