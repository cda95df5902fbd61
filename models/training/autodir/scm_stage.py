"""The stage `scm`: the structural-correction module (arXiv:2310.10123, section 3.3).

Other networks are frozen.  The clean latent is noised to a random timestep, AIR estimates the clean latent in one step,
and NAFNet learns the correction of the decoded estimate:  MSE(I_gt, F([I, D(z~)]) + D(z~)).

Shapes:  B batch, H W pixels.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models.autodir.config import LoopConfig
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.training.autodir.frozen_air import FrozenAIR
from models.training.core.replay import ReplayBuffer, random_mirror
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData, score_held_out
from models.training.core.trainer import Validation
from models.training.data.dataset import Example, batches
from models.training.data.share import ALONE, Draws, Share


@dataclass(frozen=True, kw_only=True)
class SCMStageConfig:
    """Published: timesteps (0, 999), loss "mse".

    Attributes:
        timesteps: range of the one-step estimate.  At low timesteps the estimate contains the clean picture itself,
            which no sampler has; the small bundle uses high timesteps only.
        sampler: use the result of this sampler instead of the one-step estimate; published: None.  A few-step sampler
            of a small network is cheap enough, and training then sees the same input as restoration.
        loss: "rmse" is the mean over images of the root of their MSE, so that all images have similar gradients.  Dark
            images dominate MSE; nearly clean ones dominate log MSE (the PSNR loss of NAFNet): with log MSE, the small
            network had not learned to brighten after 5,000 pictures.
        diffused_share: share of examples with the estimate of AIR.  The others get the degraded picture instead, so
            that the module also works alone (and can train before AIR).
        residual: initial value of the residual gains `beta` and `gamma`.
        replay: number of earlier examples added for each new one, with a new random mirror.  Sampling with AIR costs
            twice as much as a training step, so each sample is reused: 3 gives twice the examples an hour.
        validation: sampler of a validation; None does as in training, at timestep 999.
        replay_capacity: examples kept in memory for that; the memory is empty after `--resume`.
    """

    network: NAFNetConfig = field(default_factory=NAFNetConfig)
    timesteps: tuple[int, int] = (0, 999)
    sampler: LoopConfig | None = None
    loss: Literal["mse", "rmse"] = "mse"
    diffused_share: float = 1.0
    residual: float = 0.0
    replay: int = 0
    replay_capacity: int = 2048
    validation: LoopConfig | None = None


def restoration_loss(restored: Tensor, target: Tensor, kind: Literal["mse", "rmse"]) -> Tensor:
    """Returns the MSE, or the mean over images of sqrt(MSE + 1e-6): (B, 3, H, W) twice -> ()."""
    error = (restored - target).float().square()
    if kind == "mse":
        return error.mean()
    return (error.mean(dim=(1, 2, 3)) + 1e-6).sqrt().mean()


def _initialized(config: SCMStageConfig) -> NAFNet:
    network = NAFNet(config.network)
    for name, parameter in network.named_parameters():
        if name.endswith((".beta", ".gamma")):
            nn.init.constant_(parameter, config.residual)
    if config.residual:  # active blocks start as noise; with a zero last layer the network starts as "no change"
        nn.init.zeros_(network.ending.weight)
        if network.ending.bias is not None:
            nn.init.zeros_(network.ending.bias)
    return network


class SCMStage:
    """Trains NAFNet on top of a frozen AIR; without AIR, the degraded picture replaces the estimate."""

    name = "scm"
    partial = False

    def __init__(
        self, config: SCMStageConfig, run: RunConfig, data: TrainingData, names: tuple[str, ...],
        air: FrozenAIR | None,
    ) -> None:  # fmt: skip
        self.config, self.run, self.names, self.air = config, run, names, air
        self.pairs = data.examples(run, names)
        self.network: nn.Module = _initialized(config)
        self.held_out = data.held_out(names, crop_px=128, each=8)
        self._replay = ReplayBuffer(
            config.replay_capacity, random_mirror
        )  # (degraded, diffused, target), each (3, H, W)

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        run = self.run
        return batches(
            self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu", share=share
        )

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        examples = torch.stack([batch["degraded"], self._diffused(batch, draws), batch["target"]], dim=1)
        if self.config.replay:
            examples = self._replay.join(examples, self.config.replay, draws)
        degraded, diffused, target = examples.unbind(1)
        return restoration_loss(self.network(degraded, diffused).float(), target, self.config.loss)

    def _diffused(self, batch: Example, draws: Draws) -> Tensor:
        if self.air is None:
            return batch["degraded"]
        estimate = self._estimate(batch, self.config.timesteps, draws)
        chosen = draws.uniform((len(estimate),)) < self.config.diffused_share
        return torch.where(chosen.to(estimate.device)[:, None, None, None], estimate, batch["degraded"])

    def _estimate(self, batch: Example, timesteps: tuple[int, int], draws: Draws) -> Tensor:
        assert self.air is not None
        if self.config.sampler is not None:
            return self.air.sample(batch, self.config.sampler, draws)
        return self.air.one_step_estimate(batch, timesteps, draws)

    def _validation_input(self, example: Example, draws: Draws) -> Tensor:
        if self.air is not None and self.config.validation is not None:
            return self.air.sample(example, self.config.validation, draws)
        return self._estimate(example, (999, 999), draws)

    def validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device
        draws = Draws(torch.Generator().manual_seed(0))

        def restore(example: Example) -> tuple[Tensor, Tensor]:
            example = {key: value.to(device) for key, value in example.items()}
            without_air = self.air is None
            diffused = example["degraded"] if without_air else self._validation_input(example, draws)
            return diffused.cpu(), network(example["degraded"], diffused).cpu()

        return score_held_out(self.held_out, restore)
