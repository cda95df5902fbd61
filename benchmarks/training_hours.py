"""Compute how long the published networks train on one H100: FLOPs of a step, times steps, over FLOP/s.

Nothing is trained or measured by a clock.  torch counts the FLOPs of forward passes of the published sizes on the meta
device, without memory; a backward pass takes twice as many.  The published steps are those of docs/training.md.  The
number of pictures of an epoch is assumed, for none of the sources that we could read states it.  Loading data,
validation and the optimizer do not count.

Example: python benchmarks/training_hours.py --utilization 0.4
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.autodir.air import AIR, AIRConfig
from models.daclip.conditional_unet import WILD, ConditionalUNet, UNetConfig
from models.daclip.controller import L14, ControllerConfig, DaCLIP
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.etdiffir.fusion import fuse
from models.networks.clip import ClipConfig, build_clip
from models.networks.nafnet import NAFNet, NAFNetConfig

PEAK_TFLOPS = {"bfloat16": 989.0, "TF32": 494.5}
"""Dense peaks of the H100 SXM by type, as its data sheet states."""
AUTODIR_EPOCH, DACLIP_EPOCH = 80_000, 50_000
"""Pictures of an epoch, assumed from the sizes of the papers' data sets."""
TRAINED, PASSED = 3, 2
"""Forward and backward passes of a network that learns, and of a frozen one that gradients pass through.  torch's own
count of a backward pass is too large for depthwise convolutions: with 64 channels 65 forward passes, instead of 2."""
DEVICE = "meta"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A published training: `step` counts the FLOPs of one example."""

    system: str
    stage: str
    step: Callable[[], int]
    batch: int
    steps: int
    how: str
    kind: str = "bfloat16"


def flops(forward: Callable[[], object]) -> int:
    """Returns the floating point operations of a forward pass; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward()
    return int(counter.get_total_flops())


def h100_hours(flops_of_example: float, examples: float, peak_tflops: float, utilization: float) -> float:
    """Returns the hours of one device."""
    return flops_of_example * examples / (peak_tflops * 1e12 * utilization) / 3600


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, device=DEVICE)


def _tokens(count: int) -> Tensor:
    return torch.zeros(count, 77, dtype=torch.int64, device=DEVICE)


def assessor() -> int:
    """The image encoder on a picture and its clean twin; the prompts are computed once."""
    with torch.device(DEVICE):
        visual = build_clip(ClipConfig()).get_submodule("visual")
    return TRAINED * flops(lambda: visual(_empty(2, 3, 224, 224)))


def air() -> int:
    """The frozen autoencoder encodes target and degraded picture; the U-Net learns."""
    with torch.device(DEVICE):
        network = AIR(AIRConfig())
    picture, z = _empty(1, 3, 256, 256), _empty(1, 4, 32, 32)
    denoising = flops(lambda: network.predict(z, z, _empty(1), _empty(1, 77, 768)))
    return 2 * flops(lambda: network.encode(picture)) + TRAINED * denoising


def scm() -> int:
    """The frozen AIR makes the estimate of one step; NAFNet learns."""
    with torch.device(DEVICE):
        frozen, network = AIR(AIRConfig()), NAFNet(NAFNetConfig())
    picture, z = _empty(1, 3, 256, 256), _empty(1, 4, 32, 32)
    estimate = 2 * flops(lambda: frozen.encode(picture)) + flops(lambda: frozen.decode(z))
    estimate += flops(lambda: frozen.predict(z, z, _empty(1), _empty(1, 77, 768)))
    return estimate + TRAINED * flops(lambda: network(picture, picture))


def daclip() -> int:
    """The controller learns; gradients pass through the frozen image encoder to its links."""
    with torch.device(DEVICE):
        network = DaCLIP(ControllerConfig())
    picture = _empty(1, 3, 224, 224)
    controller = flops(lambda: network.degradation(picture))
    return (
        TRAINED * controller
        + PASSED * flops(lambda: network.content(picture))
        + flops(lambda: network.text(_tokens(2)))
    )


def restoration(controller: ControllerConfig, unet: UNetConfig | EfficientUNetConfig) -> int:
    """A U-Net of IR-SDE or ETDiffIR learns at 256 px, under the frozen DA-CLIP that conditions it."""
    picture, embedding = _empty(1, 3, 256, 256), _empty(1, controller.clip.embed_dim)
    with torch.device(DEVICE):
        frozen = DaCLIP(controller)
        network = EfficientUNet(unet) if isinstance(unet, EfficientUNetConfig) else ConditionalUNet(unet)
    conditions, captions = (embedding, embedding), 0
    if isinstance(unet, EfficientUNetConfig):
        conditions, captions = fuse(embedding, embedding, unet.mode), flops(lambda: frozen.text(_tokens(1)))
    denoising = flops(lambda: network(picture, picture, _empty(1), network.prepare(*conditions)))
    return flops(lambda: frozen(_empty(1, 3, 224, 224))) + captions + TRAINED * denoising


def irsde() -> int:
    return restoration(ControllerConfig(), UNetConfig())


def irsde_wild() -> int:
    return restoration(L14, WILD)


def etdiffir() -> int:
    return restoration(ControllerConfig(), EfficientUNetConfig(mode="paper"))


SCHEDULES = (
    Schedule(
        system="AutoDIR", stage="assessor", step=assessor, batch=1024, steps=200 * AUTODIR_EPOCH // 1024,
        how="200 epochs",
    ),
    Schedule(system="AutoDIR", stage="air", step=air, batch=256, steps=180 * AUTODIR_EPOCH // 256, how="180 epochs"),
    Schedule(system="AutoDIR", stage="scm", step=scm, batch=256, steps=4000, how="stated"),
    Schedule(system="DA-CLIP", stage="daclip", step=daclip, batch=784, steps=30 * DACLIP_EPOCH // 784, how="30 epochs"),
    Schedule(system="DA-CLIP", stage="irsde", step=irsde, batch=16, steps=700_000, how="stated", kind="TF32"),
    Schedule(
        system="wild-IR", stage="irsde --wild", step=irsde_wild, batch=16, steps=500_000, how="stated", kind="TF32"
    ),
    Schedule(system="ETDiffIR", stage="etdiffir", step=etdiffir, batch=12, steps=600_000, how="stated", kind="TF32"),
)  # fmt: skip


def table(schedules: tuple[Schedule, ...], utilization: float) -> str:
    """Returns the Markdown table."""
    lines = [
        "| system | stage | TFLOP per example | batch | steps | type | H100 hours |",
        "|---|---|---|---|---|---|---|",
    ]
    for schedule in schedules:
        each = schedule.step()
        hours = h100_hours(each, schedule.batch * schedule.steps, PEAK_TFLOPS[schedule.kind], utilization)
        steps = f"{schedule.steps:,}" + ("" if schedule.how == "stated" else f" ({schedule.how}, assumed)")
        lines.append(
            f"| {schedule.system} | `{schedule.stage}` | {each / 1e12:.3f} | {schedule.batch} | {steps} | "
            f"{schedule.kind} | {hours:,.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utilization", type=float, default=0.4, help="share of the dense peak; default: 0.4")
    arguments = parser.parse_args()
    if not 0 < arguments.utilization <= 1:
        parser.error(f"got --utilization {arguments.utilization}, expected more than 0 and at most 1")
    print(table(SCHEDULES, arguments.utilization))


if __name__ == "__main__":
    main()
