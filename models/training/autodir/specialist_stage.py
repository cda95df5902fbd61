"""A specialist: one network for a few degradations that are alike, which restores in one step without diffusion.

Not of the paper.  The correction module has all kinds to learn, and pictures that AIR hardly changed; a network with
less to learn gets further in the same hours (docs/decisions/0014).

In the loop it is often not the first: another one has repaired what came last, and left it soft or streaky; or itself
has, and a rest is there.  So a share of its pictures is shown as those leave them.

Shapes:  B batch, H W pixels.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models.autodir.specialists import Specialists
from models.errors import TrainingError
from models.networks.drunet import DRUNet, DRUNetConfig
from models.training.autodir.scm_stage import restoration_loss
from models.training.autodir.second_pass import repair
from models.training.core.config import RunConfig
from models.training.core.trainer import Validation
from models.training.core.validation import score_restoration, validation_examples
from models.training.data.dataset import Example, Pairs, batches
from models.training.data.photos import PhotoPool
from models.vocabulary import CLEAN


@dataclass(frozen=True, kw_only=True)
class SpecialistStageConfig:
    """What it learns.

    Attributes:
        loss: as the correction module's.
        residual: the blocks' second convolutions start at this part of their usual size.
        again: the share of pictures shown as the network itself, as it is by then, has repaired them.
    """

    names: tuple[str, ...]
    network: DRUNetConfig = field(default_factory=DRUNetConfig)
    loss: Literal["mse", "rmse"] = "rmse"
    residual: float = 0.2
    again: float = 0.0


def _untrained(config: SpecialistStageConfig) -> DRUNet:
    network = DRUNet(config.network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("conv2.weight"):
                parameter.mul_(config.residual)
    nn.init.zeros_(network.tail.weight)  # a silent last layer starts as "no change"
    return network


class SpecialistStage:
    """Trains a DRUNet on the degradations it is for; `others` repair what came after those.

    Raises:
        TrainingError: the mixture has a second kind that nobody repairs.
    """

    name = "specialist"

    def __init__(
        self, config: SpecialistStageConfig, run: RunConfig, pools: tuple[PhotoPool, PhotoPool],
        others: Specialists | None = None,
    ) -> None:  # fmt: skip
        self.config, self.run, self.others = config, run, others or Specialists({}, {})
        self.names = (*config.names, CLEAN)
        self.drawn = (*self.names, *(name for name in run.mixture.beside if name not in self.names))
        for name in self.drawn:
            if name not in self.names and self.others.key_of(name) is None:
                raise TrainingError(f"got no --specialist NAME=FILE for {name}, which is drawn as a second damage")
        self.pairs = Pairs(pools[0], run.crop, run.mixture, self.drawn, run.seed)
        self.network: nn.Module = _untrained(config)
        self.held_out = validation_examples(pools[1], self.names, crop_px=128, each=12)

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        degraded, target = self._shown(batch, generator)
        return restoration_loss(self.network(degraded).float(), target, self.config.loss)

    def _shown(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What the network sees and what it should make of it, (B, 3, H, W) each."""
        degraded, _, _ = repair(batch["degraded"], batch["labels"], batch["label"], self.others, self.drawn)
        last_is_ours = (batch["label"] < len(self.names))[:, None, None, None]
        target = torch.where(last_is_ours, batch["target"], batch["clean"])
        again = torch.rand(len(degraded), generator=generator) < self.config.again
        if bool(again.any()):
            again = again.to(degraded.device)
            with torch.no_grad():
                degraded[again] = self.network(degraded[again]).clamp(-1, 1).to(degraded.dtype)
        return degraded, target

    def validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device

        def restore(example: Example) -> tuple[Tensor]:
            return (network(example["degraded"].to(device)).float().cpu(),)

        return score_restoration(self.held_out, self.names, restore)
