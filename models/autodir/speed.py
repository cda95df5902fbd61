"""How AutoDIR's networks run on a device: the type of their weights, CUDA graphs, compiled kernels.

The picture is the same up to rounding: see docs/performance.md.  CLIP stays in float32, since it decides what is
repaired and takes a hundredth of the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import structlog
import torch

from models.autodir.cuda_graphs import ByShape, Warmed, both, compiling, graphs
from models.autodir.restorer import AutoDIR

log = structlog.get_logger()

Shape = tuple[int, int, int]
"""Images, height and width of the picture or tile in pixels."""
MOST_COMPILED = 8
"""torch's own limit of versions of one function, beyond which it silently stops compiling."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """`weights` of denoiser, autoencoder and correction.  `graphs` and `compiled` need CUDA."""

    weights: Literal["float32", "float16", "bfloat16"] = "float32"
    graphs: bool = False
    compiled: bool = False

    @classmethod
    def of(cls, device: torch.device, graphs: bool = True) -> "Speed":
        """What suits a device: as stored on a CPU, half precision (the published program's) and graphs on CUDA."""
        return cls(weights="float16", graphs=graphs) if device.type == "cuda" else cls()

    @property
    def dtype(self) -> torch.dtype:
        types = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
        return types[self.weights]


def hasten(model: AutoDIR, speed: Speed) -> None:
    """Change a loaded model in place, before its first image.

    Raises:
        ValueError: graphs or compiled kernels for a device other than CUDA.
    """
    if (speed.graphs or speed.compiled) and model.device.type != "cuda":
        raise ValueError(f"got graphs or compiled kernels for {model.device}, expected a CUDA device")
    schedule = model.air.schedule  # a residual network asks it at every step: it must not come from the host each time
    schedule.alphas_cumprod = schedule.alphas_cumprod.to(model.device)
    if speed.weights != "float32":
        model.air.to(speed.dtype)
        model.scm.to(speed.dtype)
        for network in model.specialists.networks.values():
            network.to(speed.dtype)
    if speed.compiled:
        make = both(compiling(), graphs()) if speed.graphs else compiling()
        model.air.network = ByShape(model.air.eager, make, kept=MOST_COMPILED, sightings=None)
    elif speed.graphs:
        model.air.network = ByShape(model.air.eager, graphs())


@torch.inference_mode()
def warm(model: AutoDIR, shapes: Sequence[Shape] = ()) -> list[Warmed]:
    """Compute what does not depend on a picture, then make the denoiser quick for these shapes; logs what it did.

    The states of the class prompts and of the null prompt are kept by the assessor.  Sides are padded to the network's
    stride, as a picture's are.  Nothing is made for shapes unless `hasten` asked for it.
    """
    model.assessor.prompts()
    model.assessor.user_states([""])
    network = model.air.network
    if not isinstance(network, ByShape):
        return []
    made = [network.warm(*_inputs(model, shape)) for shape in shapes]
    refused = [entry.refused for entry in made if entry.refused]
    seconds = round(sum(entry.seconds for entry in made), 1)
    log.info("network.warmed", shapes=len(made) - len(refused), refused=len(refused), seconds=seconds)
    return made


def _inputs(model: AutoDIR, shape: Shape) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Such as the U-Net meets halfway: noise and latents of unit variance, some prompt."""
    images, *sides = shape
    config, stride = model.air.config, model.air.stride
    height, width = ((side + -side % stride) // config.codec.factor for side in sides)
    own = model.air.unet.conv_in.weight.dtype
    generator = torch.Generator().manual_seed(0)
    stacked = torch.randn(images, 2 * config.codec.channels, height, width, generator=generator)
    context = model.assessor.user_states([""]).expand(images, -1, -1)
    timestep = torch.full((images,), 500.5, device=model.device)
    return stacked.to(model.device, own), timestep, context.to(own).contiguous()
