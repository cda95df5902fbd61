"""The stage of DA-CLIP's U-Net: one step, by batch, precision and way of running it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import daclip
import torch
from torch import Tensor

from gpu_stages.facts import median_seconds
from gpu_stages.networks import exact_float32
from gpu_stages.options import Options
from gpu_stages.runner import Row
from models.autodir.cuda_graphs import Graph
from models.daclip.conditional_unet import ConditionalUNet
from models.psnr import psnr

COMPILE_S = 60.0
Step = Callable[..., Tensor]


def daclip_unet(options: Options) -> Iterator[Row]:
    """Full size, random weights; PSNR is to float32 without TF32, relative to the largest value.

    The product runs this network as it is stored, without graphs: the rows say what half precision, graphs and
    compiling would give.
    """
    sides, batches = ((64,), (1, 2)) if options.tiny else ((256, 512), (1, 4, 8))
    config, types = daclip.CONFIGS["daclip"], (torch.float32, torch.float16, torch.bfloat16)
    if options.tiny:
        config, types = replace(config, width=32), types[::2]
    exact: dict[int, Tensor] = {}
    with torch.inference_mode():
        made = daclip.network(config, options.device).to(memory_format=torch.channels_last)
        inputs = {side: _inputs(made, side) for side in sides}
        with exact_float32():
            for side in sides:
                exact[side] = _call(made)(*inputs[side]).cpu()
        for dtype in types:
            made = daclip.network(config, options.device).to(dtype=dtype, memory_format=torch.channels_last)
            for side in sides:
                yield from _rows(made, inputs[side], batches, exact[side], options)
        yield from _compiled(config, inputs[sides[-1]], batches[::2], exact[sides[-1]], options)
        yield from _published(config, sides, exact, options)  # last: it changes our classes


def _call(network: ConditionalUNet) -> Step:
    def call(x: Tensor, mu: Tensor, embedding: Tensor, *vectors: Tensor) -> Tensor:
        return network.denoise(x, mu, embedding, vectors)

    return call


def _inputs(network: ConditionalUNet, side: int) -> tuple[Tensor, ...]:
    """A state, its degraded image, the embedding of time and prompt, and the vectors of the cross-attentions.

    `network` must be in float32, as the product's own is when it computes the embedding.
    """
    device, draw = next(network.parameters()).device, torch.Generator().manual_seed(1)
    mu = torch.rand(1, 3, side, side, generator=draw)
    x = mu + 0.2 * torch.randn(1, 3, side, side, generator=draw)
    content, degradation = torch.randn(2, 1, network.config.context_dim, generator=draw).to(device)
    constants = network.prepare(content, degradation)
    embedding = network.embed(torch.tensor([50], device=device), constants)
    return x.to(device), mu.to(device), embedding, *constants.cross_vectors


def _batch(inputs: tuple[Tensor, ...], count: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(part.to(dtype).expand(count, *part.shape[1:]).contiguous() for part in inputs)


def _rows(
    made: ConditionalUNet, inputs: tuple[Tensor, ...], batches: tuple[int, ...], exact: Tensor, options: Options
) -> Iterator[Row]:
    for count in batches:
        batch = _batch(inputs, count, made.final_conv.weight.dtype)
        ways: dict[str, Step] = {"eager": _call(made)}
        if options.on_cuda:
            ways["graph"] = Graph(_call(made), batch, torch.cuda.graph_pool_handle())
        for way, step in ways.items():
            yield _row(way, step, batch, exact, options)


def _row(way: str, step: Step, batch: tuple[Tensor, ...], exact: Tensor, options: Options) -> Row:
    output, (count, _, side, _) = step(*batch)[:1].float().cpu(), batch[0].shape
    repeats = 1 if options.tiny else 7
    seconds = median_seconds(lambda: step(*batch), options, calls=1 if options.tiny else 3, repeats=repeats)
    return {
        "way": way, "type": str(batch[0].dtype).removeprefix("torch."), "side px": side, "batch": count,
        "ms per step": 1000 * seconds, "ms per image": 1000 * seconds / count, "n": repeats,
        "PSNR dB": psnr(output, exact, peak=float(exact.abs().max())),
    }  # fmt: skip


def _compiled(
    config: daclip.UNetConfig, inputs: tuple[Tensor, ...], batches: tuple[int, ...], exact: Tensor, options: Options
) -> Iterator[Row]:
    if not options.on_cuda:
        yield {"way": "graph and compiled", "left out": "they need CUDA"}
        return
    made = daclip.network(config, options.device).to(dtype=torch.float16, memory_format=torch.channels_last)
    for count in batches:
        if options.left_s() < COMPILE_S:
            yield {"way": "compiled", "batch": count, "left out": "no time was left"}
            continue
        batch = _batch(inputs, count, torch.float16)
        step: Step = torch.compile(_call(made), dynamic=False)
        yield _row("compiled", step, batch, exact, options)
        yield _row("compiled, as a graph", Graph(step, batch, torch.cuda.graph_pool_handle()), batch, exact, options)


def _published(
    config: daclip.UNetConfig, sides: tuple[int, ...], exact: dict[int, Tensor], options: Options
) -> Iterator[Row]:
    """One image at a time, in float32."""
    repeats = 1 if options.tiny else 5
    for side in sides:
        output, seconds, _ = daclip.step(config, False, side, repeats, options.device)
        yield {
            "way": "published, the fastest", "type": "float32", "side px": side, "batch": 1,
            "ms per step": 1000 * seconds, "ms per image": 1000 * seconds, "n": repeats,
            "PSNR dB": psnr(output, exact[side], peak=float(exact[side].abs().max())),
        }  # fmt: skip
