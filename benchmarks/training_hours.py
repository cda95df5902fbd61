"""Compute how long the published networks train on one H100: FLOPs of a step, times steps, over FLOP/s.

Nothing is trained or measured by a clock.  torch counts the FLOPs of forward and backward passes of the published sizes
on the meta device, without memory.  The published steps are those of docs/training.md.  An epoch's number of pictures is
stated by none of the sources that we could read, so it is assumed.  Loading data, validation and optimizer do not count.

Example: python benchmarks/training_hours.py --utilization 0.4
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
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
DEVICE = "meta"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A published training: `step` runs the forward and the backward pass of one example on the meta device."""

    system: str
    stage: str
    step: Callable[[], None]
    batch: int
    steps: int
    how: str
    kind: str = "bfloat16"


def flops(step: Callable[[], None]) -> int:
    """Returns the floating point operations of a call; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def h100_hours(flops_of_example: float, examples: float, peak_tflops: float, utilization: float) -> float:
    """Returns the hours of one device."""
    return flops_of_example * examples / (peak_tflops * 1e12 * utilization) / 3600


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, device=DEVICE)


def _built(build: Callable[[], nn.Module], *, frozen: bool = False) -> nn.Module:
    with torch.device(DEVICE):
        return build().requires_grad_(not frozen)


def assessor() -> None:
    """The image encoder on a picture and its clean twin; the prompts are computed once."""
    visual = _built(lambda: build_clip(ClipConfig()).get_submodule("visual"))
    visual(_empty(2, 3, 224, 224)).sum().backward()


def air() -> None:
    network = _built(lambda: AIR(AIRConfig()))
    assert isinstance(network, AIR)
    with torch.no_grad():
        z, z_image = network.encode(_empty(1, 3, 256, 256)), network.encode(_empty(1, 3, 256, 256))
    network.predict(z, z_image, _empty(1), _empty(1, 77, 768)).sum().backward()


def scm() -> None:
    frozen, network = _built(lambda: AIR(AIRConfig()), frozen=True), _built(lambda: NAFNet(NAFNetConfig()))
    assert isinstance(frozen, AIR)
    picture = _empty(1, 3, 256, 256)
    with torch.no_grad():
        z = frozen.encode(picture)
        diffused = frozen.decode(frozen.predict(z, frozen.encode(picture), _empty(1), _empty(1, 77, 768)))
    network(picture, diffused).sum().backward()


def daclip() -> None:
    """The controller learns; gradients pass through the frozen image encoder to the links."""
    network = _built(lambda: DaCLIP(ControllerConfig()))
    assert isinstance(network, DaCLIP)
    network.clip.requires_grad_(False)
    content, degradation = network(_empty(1, 3, 224, 224))
    network.text(torch.zeros(2, 77, dtype=torch.int64, device=DEVICE))
    (content.sum() + degradation.sum()).backward()


def restoration(controller: ControllerConfig, unet: UNetConfig | EfficientUNetConfig) -> None:
    """A U-Net of IR-SDE or ETDiffIR at 256 px, with the frozen DA-CLIP that conditions it."""
    frozen = _built(lambda: DaCLIP(controller), frozen=True)
    assert isinstance(frozen, DaCLIP)
    with torch.no_grad():
        content, degradation = frozen(_empty(1, 3, 224, 224))
        caption = frozen.text(torch.zeros(1, 77, dtype=torch.int64, device=DEVICE))
    if isinstance(unet, EfficientUNetConfig):
        network = _built(lambda: EfficientUNet(unet))
        assert isinstance(network, EfficientUNet)
        constants = network.prepare(*fuse(caption, degradation, network.efficient.mode))
    else:
        network = _built(lambda: ConditionalUNet(unet))
        assert isinstance(network, ConditionalUNet)
        constants = network.prepare(content, degradation)
    picture = _empty(1, 3, 256, 256)
    network(picture, picture, _empty(1), constants).sum().backward()


def irsde() -> None:
    restoration(ControllerConfig(), UNetConfig())


def irsde_wild() -> None:
    restoration(L14, WILD)


def etdiffir() -> None:
    restoration(ControllerConfig(), EfficientUNetConfig(mode="paper"))


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
        each = flops(schedule.step)
        hours = h100_hours(each, schedule.batch * schedule.steps, PEAK_TFLOPS[schedule.kind], utilization)
        steps = f"{schedule.steps:,}" + ("" if schedule.how == "stated" else f" ({schedule.how}, assumed)")
        lines.append(
            f"| {schedule.system} | `{schedule.stage}` | {each / 1e12:.3f} | {schedule.batch} | {steps} | "
            f"{schedule.kind} | {hours:,.0f} |"
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
