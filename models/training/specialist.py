"""A specialist: one network for a few degradations that are alike, which restores in one step without diffusion.

Not of the paper.  The correction module has all kinds to learn, and pictures that AIR hardly changed; a network with
less to learn gets further in the same hours (docs/decisions/0014).

Shapes:  B batch, H W pixels.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models.drunet import DRUNet, DRUNetConfig
from models.training.config import RunConfig
from models.training.dataset import Example, Pairs, batches
from models.training.photos import PhotoPool
from models.training.scm import restoration_loss
from models.training.sheet import score_restoration, validation_examples
from models.training.trainer import Validation
from models.vocabulary import CLEAN


@dataclass(frozen=True, kw_only=True)
class SpecialistStageConfig:
    """`loss` as the correction module's; the blocks' second convolutions start at `residual` of their usual size."""

    names: tuple[str, ...]
    network: DRUNetConfig = field(default_factory=DRUNetConfig)
    loss: Literal["mse", "rmse"] = "rmse"
    residual: float = 0.2


def _untrained(config: SpecialistStageConfig) -> DRUNet:
    network = DRUNet(config.network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("conv2.weight"):
                parameter.mul_(config.residual)
    nn.init.zeros_(network.tail.weight)  # a silent last layer starts as "no change"
    return network


class SpecialistStage:
    """Trains a DRUNet on the degradations it is for."""

    name = "specialist"

    def __init__(self, config: SpecialistStageConfig, run: RunConfig, pools: tuple[PhotoPool, PhotoPool]) -> None:
        self.config, self.run = config, run
        self.names = (*config.names, CLEAN)
        self.pairs = Pairs(pools[0], run.crop, run.mixture, self.names, run.seed)
        self.network: nn.Module = _untrained(config)
        self.held_out = validation_examples(pools[1], self.names, crop_px=128, each=12)

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        return restoration_loss(self.network(batch["degraded"]).float(), batch["target"], self.config.loss)

    def validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device

        def restore(example: Example) -> tuple[Tensor]:
            return (network(example["degraded"].to(device)).float().cpu(),)

        return score_restoration(self.held_out, self.names, restore)
