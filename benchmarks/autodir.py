"""Measure the speed of AutoDIR, compared with a reference loop that follows the published program.

    pass    one prompted pass: assess, encode, denoise, decode, correct
    step    one denoising step: three U-Net calls compared with one

The reference restores one photo at a time with three U-Net calls per step, autocast over float32 weights (on CUDA),
eager kernels and no caches.  It runs with explicit attention scores, as published, and with torch's attention.  Weights
are random, because speed does not depend on them.  PSNR is measured to the float32 result of the reference with the
same seed.  On a CPU, times are CPU time; set OMP_NUM_THREADS=1.  FLOPs are counted on the meta device, without CLIP.

Example: python benchmarks/autodir.py pass --side 128 --steps 20
"""

import argparse
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TypeVar

import psutil
import torch
from conditions import Timer, header, make_parser
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.assessor import Assessor, center_crop
from models.autodir.config import AutoDIRConfig, LoopConfig
from models.autodir.denoiser import Denoiser, StepCache
from models.autodir.latents import KLConfig
from models.autodir.restorer import AutoDIR
from models.autodir.speed import warm_up
from models.controls import Controls
from models.device import Speed
from models.drive import restore_all
from models.networks.clip import ClipConfig, TextConfig, VisionConfig
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.noise import NoiseStream
from models.psnr import psnr
from models.restorer import Request
from models.vocabulary import AUTODIR_NAMES, CLEAN

T = TypeVar("T")
PROMPT = "A photo needs haze artifact reduction"
BF16_TFLOPS = 790
"""The measured rate of matrix products on an H200."""
FULL = AutoDIRConfig(names=(*AUTODIR_NAMES, CLEAN), fidelity={})
TINY = replace(
    FULL,
    clip=ClipConfig(
        vision=VisionConfig(layers=2, width=64, head_width=16, mlp_ratio=2.0), text=TextConfig(layers=2, mlp_ratio=0.34)
    ),
    air=AIRConfig(
        unet=UNetConfig(block_channels=(32, 64, 128, 128)), codec=KLConfig(block_channels=(32, 64, 128, 128))
    ),
    scm=NAFNetConfig(width=8),
)
"""The networks of the tiny parity checkpoint."""
CONFIGS = {"tiny": TINY, "full": FULL}


def fill_randomly(network: nn.Module, device: torch.device) -> None:
    """Give a network on the meta device random weights; each output has about the variance of its inputs."""
    network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for name, value in network.named_parameters():
        if value.ndim < 2 or name.endswith((".beta", ".gamma")):
            nn.init.constant_(value, 1.0 if name.endswith("weight") else 0.1 if value.ndim > 1 else 0.0)
        else:
            value.data.normal_(0, 1 / math.sqrt(value[0].numel()), generator=generator)
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def build(config: AutoDIRConfig, device: torch.device) -> AutoDIR:
    with torch.device("meta"):
        assessor, air, scm = Assessor(config.clip, config.names), AIR(config.air), NAFNet(config.scm)
    for network in (assessor.clip, air, scm):
        fill_randomly(network, device)
    return AutoDIR(config, assessor.eval(), air, scm, device)


class Reference:
    """The published program, written again; it shares only the networks and the seeded noise with ours."""

    def __init__(self, model: AutoDIR, steps: int, autocast: bool, explicit: bool) -> None:
        self.model, self.device, self.autocast, self.explicit = model, model.device, autocast, explicit
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        kept = torch.cumprod(1 - betas, 0).float()
        self.log_sigmas = ((1 - kept) / kept).sqrt().log()
        self.timesteps = torch.linspace(999, 0, steps)
        low = self.timesteps.floor().long()
        share = self.timesteps - low
        logs = (1 - share) * self.log_sigmas[low] + share * self.log_sigmas[(low + 1).clamp(max=999)]
        self.sigmas = torch.cat([logs.exp(), torch.zeros(1)]).to(self.device)

    @torch.no_grad()
    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Restore one photo: (3, H, W) in [-1, 1] -> (3, H, W) in [-1, 1].  Sides must be multiples of 64."""
        model, casting = self.model, torch.autocast("cuda", torch.float16) if self.autocast else nullcontext()
        unet = model.air.unet
        before = unet.attn_processors
        if self.explicit:
            from diffusers.models.attention_processor import AttnProcessor

            unet.set_attn_processor(AttnProcessor())
        try:
            with casting:
                return self._run(image[None].to(self.device), seed)
        finally:
            unet.set_attn_processor(before)

    def _run(self, image: Tensor, seed: int) -> Tensor:
        assessor, air = self.model.assessor, self.model.air
        assessor.forget_prompts()  # the published program computes all text states again for each photo
        crop = center_crop(image[0].cpu(), self.model.config.clip.vision.image_size)
        assessor.logits(assessor.image_features(crop[None].to(self.device)))
        cond, null = assessor.user_states([PROMPT]), assessor.user_states([""])
        z_image = air.encode(image)
        stream, sigmas = NoiseStream(seed), self.sigmas
        x = stream.draw(tuple(z_image.shape[1:]))[None].to(self.device) * sigmas[0]
        for i in range(len(self.timesteps)):
            x = self.step(x, z_image, i, cond, null, stream)
        diffused = air.decode(x).float().clamp(-1, 1)
        restored = diffused + self.model.scm.correction(image, diffused).float()
        return restored[0].clamp(-1, 1).cpu()

    def step(self, x: Tensor, z_image: Tensor, i: int, cond: Tensor, null: Tensor, stream: NoiseStream) -> Tensor:
        """Take one Euler ancestral step in sigma space with guidance 1 and 1; all three branches are computed."""
        sigma, after = self.sigmas[i], self.sigmas[i + 1]
        at, scaled = self.timesteps[i : i + 1].to(self.device), x / (sigma**2 + 1).sqrt()
        unet = self.model.air.unet
        branches = ((cond, z_image), (null, z_image), (null, torch.zeros_like(z_image)))
        cond_eps, image_eps, none_eps = (
            unet(torch.cat([scaled, beside], 1), at, encoder_hidden_states=text).sample for text, beside in branches
        )
        eps = none_eps + 1.0 * (cond_eps - image_eps) + 1.0 * (image_eps - none_eps)
        clean = x - sigma * eps
        up = (after**2 * (sigma**2 - after**2) / sigma**2).sqrt()
        down = (after**2 - up**2).sqrt()
        x = x + (x - clean) / sigma * (down - sigma)
        return x + up * stream.draw(tuple(x.shape[1:]))[None].to(x.device) if float(after) > 0 else x


def flops(config: AutoDIRConfig, side: int, steps: int) -> float:
    """Returns the FLOPs of one pass: one U-Net call per step, encoding, decoding and correction."""
    with torch.device("meta"):
        air, scm = AIR(config.air), NAFNet(config.scm)
        image, h = torch.empty(1, 3, side, side), side // config.air.codec.factor
        z, at, text = torch.empty(1, 4, h, h), torch.empty(1), torch.empty(1, 77, config.air.unet.context_dim)

        def count(action: Callable[[], object]) -> int:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                action()
            return int(counter.get_total_flops())

        once = count(lambda: (air.encode(image), air.decode(z), scm.correction(image, image)))
        return float(once + steps * count(lambda: air.predict(z, z, at, text)))


class Peak:
    """Measures the peak memory of a block in MiB above its start: of the device on CUDA, otherwise of the process."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.mib = device, 0.0

    def __enter__(self) -> "Peak":
        self._ended = threading.Event()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._before = self._now()
        self._sampler = threading.Thread(target=self._sample)
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._sampler.join()
        if self.device.type == "cuda":
            self.mib = (torch.cuda.max_memory_allocated(self.device) - self._before) / 2**20

    def _now(self) -> int:
        on_cuda = self.device.type == "cuda"
        return torch.cuda.memory_allocated(self.device) if on_cuda else psutil.Process().memory_info().rss

    def _sample(self) -> None:
        while not self._ended.wait(0.01) and self.device.type != "cuda":
            self.mib = max(self.mib, (self._now() - self._before) / 2**20)


def measure(action: Callable[[], T], device: torch.device, repeats: int) -> tuple[float, float, T]:
    """Returns the median seconds after one warm-up, the peak MiB, and the result of the action."""
    result, timers = action(), []
    with Peak(device) as peak:
        for _ in range(repeats):
            with Timer(device) as timer:
                result = action()
            timers.append(timer)
    return median(timer.seconds for timer in timers), peak.mib, result


def whole_pass(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    side, steps, repeats = arguments.side, arguments.steps, arguments.repeats
    config = replace(CONFIGS[arguments.scale], loop=LoopConfig(steps=steps, native_px=side * side))
    model, on_cuda = build(config, device), device.type == "cuda"
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, side, side, generator=generator) * 2 - 1 for _ in range(max(arguments.batches))]
    exact = Reference(model, steps, autocast=False, explicit=False)(images[0], 0)
    work = flops(config, side, steps)
    yield f"{work / 1e12:.2f} TFLOP per photo (one U-Net call per step)"
    yield ""
    yield "| variant | batch | images/s | p50 ms | peak MiB | PSNR to fp32 | TFLOP/s | of 790 | speedup |"
    yield "|---|---|---|---|---|---|---|---|---|"
    base = 0.0

    def row(name: str, batch: int, seconds: float, peak: float, picture: Tensor) -> str:
        rate = batch / seconds
        reached = rate * work / 1e12
        share = f"{reached / BF16_TFLOPS:.1%}" if on_cuda else "–"
        near = psnr(picture.cpu(), exact.cpu(), peak=2)
        return (
            f"| {name} | {batch} | {rate:.3f} | {1000 * seconds:.0f} | {peak:.0f} | {near:.1f} | "
            f"{reached:.2f} | {share} | {rate / base:.2f} |"
        )

    for explicit in (True, False):
        reference = Reference(model, steps, autocast=on_cuda, explicit=explicit)
        seconds, peak, picture = measure(partial(reference, images[0], 0), device, repeats)
        base = 1 / seconds  # the last one, with torch's attention, is the base of "speedup"
        name = f"reference, {'explicit' if explicit else 'torch'} attention"
        yield row(name, 1, seconds, peak, picture)
    model.assessor.forget_prompts()
    speed = replace(Speed.of(device), weights=arguments.weights) if arguments.weights else Speed.of(device)
    model.accelerate(speed)
    for batch in arguments.batches:
        requests = [
            Request(image=image, controls=Controls(prompt=PROMPT, seed=seed, fidelity=1.0))
            for seed, image in enumerate(images[:batch])
        ]
        for made in warm_up(model.air, model.assessor, [(batch, side, side)]):
            yield f"<!-- warm-up {made.shapes} {made.seconds:.1f} s {made.refused or ''} -->"
        action = partial(restore_all, model, requests, together=batch)
        seconds, peak, restored = measure(action, device, repeats)
        yield row(f"ours, {speed.weights}", batch, seconds, peak, restored[0].image)


def one_step(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Measure one step of the denoiser with random latents and text states."""
    config, side = CONFIGS[arguments.scale], arguments.side
    with torch.device("meta"):
        air = AIR(config.air)
    fill_randomly(air, device)
    h = side // config.air.codec.factor
    z, z_image = torch.randn(2, 1, 4, h, h, generator=torch.Generator().manual_seed(0)).to(device)
    text, null = torch.randn(2, 1, 77, config.air.unet.context_dim, generator=torch.Generator().manual_seed(1)).to(
        device
    )
    at = torch.tensor([500.5], device=device)
    zeros = torch.zeros_like(z_image)
    ours = Denoiser(air=air, null=lambda: null[0])
    caching = Denoiser(air=air, null=lambda: null[0], cache_every=2)
    cache = StepCache()

    def three() -> Tensor:
        branches = ((text, z_image), (null, z_image), (null, zeros))
        a, b, c = (air.eager(torch.cat([z, beside], 1), at, states) for states, beside in branches)
        return c + (a - b) + (b - c)

    def one(denoiser: Denoiser, step: int, at: Tensor = at) -> Tensor:
        return denoiser(z, z_image, at, text, [(1.0, 1.0)], [step], [cache])

    with torch.inference_mode():
        one(caching, 0, at + 20)  # the previous one of 50 steps
        exact = three()
        yield "| one step | s | peak MiB | speedup | largest difference |"
        yield "|---|---|---|---|---|"
        base = 0.0
        variants: tuple[tuple[str, Callable[[], Tensor]], ...] = (
            ("reference: three calls", three),
            ("ours at guidance 1 and 1: one call", lambda: one(ours, 1)),
            ("the same with features of the previous step (approximate)", lambda: one(caching, 1)),
        )
        for name, action in variants:
            seconds, peak, output = measure(action, device, arguments.repeats)
            base = base or seconds
            apart = float((output - exact).abs().max())
            yield f"| {name} | {seconds:.2f} | {peak:.0f} | {base / seconds:.2f} | {apart:.1e} |"


PARTS = {"pass": whole_pass, "step": one_step}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, default="pass", help="default: pass")
    parser.add_argument("--scale", choices=CONFIGS, default="tiny", help="size of the networks (default: tiny)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--side", type=int, default=512, help="side of the photo in pixels, a multiple of 64")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps per pass")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16], help="photos per batch")
    parser.add_argument("--repeats", type=int, default=5, help="measured runs after one warm-up")
    parser.add_argument(
        "--weights",
        choices=["float32", "float16", "bfloat16"],
        help="weights of our networks; default: by device",
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    size = f"{arguments.scale} · {arguments.side} px · {arguments.steps} steps · {arguments.repeats} repeats"
    print(header(arguments.part, size, device=device), end="\n\n")
    for line in PARTS[arguments.part](arguments, device):
        print(line, flush=True)


if __name__ == "__main__":
    main()
