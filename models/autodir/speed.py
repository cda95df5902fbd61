"""Makes AutoDIR's networks fast on a device: the type of their weights, CUDA graphs, compiled kernels, early constants.

The picture is the same up to rounding: see docs/performance-autodir.md.  CLIP stays in float32, because it decides what
is repaired and takes 1 % of the time.
"""

from collections.abc import Callable, Iterable, Sequence

import structlog
import torch
from torch import Tensor, nn

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.cuda_graphs import FastPerShape, Make, WarmedShape, graph_maker
from models.compiler import CompiledNetwork, Function, compiled
from models.device import Speed
from models.frames import FRAMES, Frame
from models.restorer import Shape

log = structlog.get_logger()

CONTEXT_LENGTH = 77
"""Text tokens of a prompt, with padding; the kernels hold for any number."""


def accelerate(
    air: AIR, others: Iterable[nn.Module], device: torch.device, speed: Speed, frames: Sequence[Frame] = FRAMES
) -> None:
    """Change the loaded denoiser, and the other networks that run in its precision, in place before the first image.

    Only pictures and tiles of the shapes of `frames` run as graphs.  Compiled kernels hold for all shapes; where the
    machine has no compiler, the log says so and the plain network runs.

    Raises:
        ValueError: graphs for a device other than CUDA.
    """
    if speed.graphs and device.type != "cuda":
        raise ValueError(f"got graphs for {device}, expected a CUDA device")
    schedule = air.schedule  # a residual network reads it at every step, so it must not be copied from the host
    schedule.alphas_cumprod = schedule.alphas_cumprod.to(device)
    if speed.weights != "float32":
        for network in (air, *others):
            network.to(speed.dtype)
    kernels = compiled(air.eager, _examples(air, device, frames), device) if speed.compile else None
    graph = graph_maker() if speed.graphs else None
    factor = air.config.codec.factor
    latents = {(height // factor, width // factor) for height, width in frames}

    def framed(shape: tuple[int, ...]) -> bool:
        return shape[-2:] in latents

    if kernels is not None:
        made = _faster(kernels, lambda inputs: graph if framed(tuple(inputs[0].shape)) else None)
        air.network = FastPerShape(air.eager, made)
    elif graph is not None:
        air.network = FastPerShape(air.eager, graph, worth=lambda inputs: framed(inputs[0][0]))


def _faster(kernels: CompiledNetwork, graph_for: Callable[[Sequence[Tensor]], Make | None]) -> Make:
    """Returns a maker that takes the kernels where they fit, and puts them into a graph where there may be one."""

    def make(plain: Function, inputs: Sequence[Tensor]) -> Function:
        function: Function = kernels if kernels.serves(*inputs) else plain
        graph = graph_for(inputs)
        return function if graph is None else graph(function, inputs)

    return make


def _examples(air: AIR, device: torch.device, frames: Sequence[Frame]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Returns inputs of the U-Net to compile it for: a batch, and one image, of a frame that is not square."""
    height, width = next((frame for frame in frames if frame[0] != frame[1]), frames[0])
    context = torch.zeros(2, CONTEXT_LENGTH, air.config.unet.context_dim)
    batch = _inputs(air, device, (2, height, width), context)
    first, second, third = (value[:1].clone() for value in batch)
    return [batch, (first, second, third)]


@torch.inference_mode()
def warm_up(air: AIR, assessor: Assessor, shapes: Sequence[Shape] = ()) -> list[WarmedShape]:
    """Compute the constants of the prompts, then capture a graph for each shape; logs `network.warmed`.

    The assessor keeps the states of the class prompts and of the null prompt.  Sides are padded to the network's stride
    as those of a picture are.  Without graphs (see `accelerate`) the shapes change nothing.
    """
    assessor.prompts()
    assessor.user_states([""])
    network = air.network
    if not isinstance(network, FastPerShape):
        return []
    made = [network.warm_up(*_typical_inputs(air, assessor, shape)) for shape in shapes]
    refused = [entry.refused for entry in made if entry.refused]
    seconds = round(sum(entry.seconds for entry in made), 1)
    log.info("network.warmed", shapes=len(made) - len(refused), refused=len(refused), seconds=seconds)
    return made


def _typical_inputs(air: AIR, assessor: Assessor, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the U-Net halfway through a pass: noise and latents of unit variance, and the null prompt."""
    context = assessor.user_states([""]).expand(shape[0], -1, -1)
    return _inputs(air, assessor.device, shape, context)


def _inputs(air: AIR, device: torch.device, shape: Shape, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    images, *sides = shape
    config, stride = air.config, air.stride
    height, width = ((side + -side % stride) // config.codec.factor for side in sides)
    dtype = air.unet.conv_in.weight.dtype
    generator = torch.Generator().manual_seed(0)
    stacked = torch.randn(images, 2 * config.codec.channels, height, width, generator=generator)
    timestep = torch.full((images,), 500.5, device=device)
    return stacked.to(device, dtype), timestep, context.to(device, dtype).contiguous()
