"""Makes AutoDIR's networks fast on a device: the type of their weights, CUDA graphs, and constants computed early.

The picture is the same up to rounding: see docs/performance.md.  CLIP stays in float32, because it decides what is
repaired and takes 1 % of the time.
"""

from collections.abc import Iterable, Sequence

import structlog
import torch
from torch import Tensor, nn

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.cuda_graphs import FastPerShape, WarmedShape, graph_maker
from models.device import Speed
from models.frames import FRAMES, Frame
from models.restorer import Shape

log = structlog.get_logger()


def accelerate(
    air: AIR, others: Iterable[nn.Module], device: torch.device, speed: Speed, frames: Sequence[Frame] = FRAMES
) -> None:
    """Change the loaded denoiser, and the other networks that run in its precision, in place before the first image.

    Only pictures and tiles of the shapes of `frames` run as graphs.

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
    if speed.graphs:
        factor = air.config.codec.factor
        latents = {(height // factor, width // factor) for height, width in frames}
        air.network = FastPerShape(air.eager, graph_maker(), worth=lambda inputs: inputs[0][0][-2:] in latents)


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
    images, *sides = shape
    config, stride = air.config, air.stride
    height, width = ((side + -side % stride) // config.codec.factor for side in sides)
    dtype, device = air.unet.conv_in.weight.dtype, assessor.device
    generator = torch.Generator().manual_seed(0)
    stacked = torch.randn(images, 2 * config.codec.channels, height, width, generator=generator)
    context = assessor.user_states([""]).expand(images, -1, -1)
    timestep = torch.full((images,), 500.5, device=device)
    return stacked.to(device, dtype), timestep, context.to(dtype).contiguous()
