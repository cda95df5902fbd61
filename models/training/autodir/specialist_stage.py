"""The stages `detail`, `weather`, `light` and `blur`: a specialist restores a few similar degradations in one step.

Specialists are not part of the paper.  The correction module must learn all degradations, on pictures that AIR hardly
changed; a network with fewer tasks reaches a better quality in the same training time (docs/decisions/0014).

In the loop, a specialist often runs after another one, which left the picture slightly soft or streaky, or after its
own first pass, which left a rest.  So a share of the training pictures is repaired by these networks first.

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
from models.training.autodir.second_pass import repair_batch
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData, score_held_out
from models.training.core.trainer import Validation
from models.training.data.dataset import Example, batches
from models.training.data.share import ALONE, Draws, Share
from models.vocabulary import CLEAN


@dataclass(frozen=True, kw_only=True)
class SpecialistStageConfig:
    """The network of a specialist and its training.

    Attributes:
        names: the degradations that the specialist restores.
        loss: the same choice as for the correction module.
        residual: factor on the initial weights of the second convolution of each block.
        self_repaired_share: share of pictures that the network in training has already repaired once.
    """

    names: tuple[str, ...]
    network: DRUNetConfig = field(default_factory=DRUNetConfig)
    loss: Literal["mse", "rmse"] = "rmse"
    residual: float = 0.2
    self_repaired_share: float = 0.0


def _initialized(config: SpecialistStageConfig) -> DRUNet:
    network = DRUNet(config.network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("conv2.weight"):
                parameter.mul_(config.residual)
    nn.init.zeros_(network.tail.weight)  # with a zero last layer the network starts as "no change"
    return network


class SpecialistStage:
    """Trains a DRUNet on its degradations; the specialists `others` first repair later damage of other kinds.

    Raises:
        TrainingError: the mixture has a second kind without a specialist.
    """

    name = "specialist"
    partial = False

    def __init__(
        self, config: SpecialistStageConfig, run: RunConfig, data: TrainingData,
        others: Specialists | None = None,
    ) -> None:  # fmt: skip
        self.config, self.run, self.others = config, run, others or Specialists({}, {})
        self.names = (*config.names, CLEAN)
        self.drawn_names = (*self.names, *(name for name in run.mixture.second_weights if name not in self.names))
        for name in self.drawn_names:
            if name not in self.names and self.others.key_of(name) is None:
                raise TrainingError(
                    f"got no --specialist NAME=FILE for {name}, which the mixture draws as second damage"
                )
        self.pairs = data.examples(run, self.drawn_names)
        self.network: nn.Module = _initialized(config)
        self.held_out = data.held_out(self.names, crop_px=128, each=12)

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        run = self.run
        return batches(
            self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu", share=share
        )

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        degraded, target = self._inputs(batch, draws)
        return restoration_loss(self.network(degraded).float(), target, self.config.loss)

    def _inputs(self, batch: Example, draws: Draws) -> tuple[Tensor, Tensor]:
        """Returns the input of the network and its target, (B, 3, H, W) each."""
        repaired = repair_batch(batch["degraded"], batch["labels"], batch["label"], self.others, self.drawn_names)
        degraded = repaired.pictures
        last_is_ours = (batch["label"] < len(self.names))[:, None, None, None]
        target = torch.where(last_is_ours, batch["target"], batch["clean"])
        again = draws.uniform((len(degraded),)) < self.config.self_repaired_share
        if bool(again.any()):
            again = again.to(degraded.device)
            with torch.no_grad():
                degraded[again] = self.network(degraded[again]).clamp(-1, 1).to(degraded.dtype)
        return degraded, target

    def validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device

        def restore(example: Example) -> tuple[Tensor]:
            return (network(example["degraded"].to(device)).float().cpu(),)

        return score_held_out(self.held_out, restore)
