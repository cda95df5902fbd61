"""Stage three: the structural-correction module (arXiv:2310.10123, section 3.3).

The rest is frozen.  A timestep is drawn, the clean latent is noised to it, AIR estimates the clean latent in one step,
and NAFNet learns what the decoded estimate lacks:  MSE(I_gt, F([I, D(z~)]) + D(z~)).

Shapes:  B batch, H W pixels.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models.autodir.config import LoopConfig
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.training.autodir.air_estimate import Estimator
from models.training.core.config import RunConfig
from models.training.core.replay import Replay, mirrored
from models.training.core.trainer import Validation
from models.training.core.validation import score_restoration, validation_examples
from models.training.data.dataset import Example, Pairs, batches
from models.training.data.photos import PhotoPool


@dataclass(frozen=True, kw_only=True)
class SCMConfig:
    """Published: timesteps (0, 999), loss "mse".

    Attributes:
        timesteps: where the one-step estimate is taken.  Low ones carry the clean picture itself into the estimate,
            which no sampler ever has; the small bundle draws high ones only.
        sampled: take what this sampler makes of the picture instead of the one-step estimate; published: None.  A
            few-step sampler of a small network is cheap enough, and then training sees just what restoring will.
        loss: "rmse" is the mean over images of the root of their MSE, so that each image pulls with the same force.
            MSE hears only the dark ones; log MSE (NAFNet's own PSNR loss) only the nearly clean ones: with it the
            small network had not learned to brighten anything after 5,000 pictures.
        diffused: the share of examples that see AIR's estimate; the rest see the degraded picture in its place, so that
            the module stands on its own feet (and can learn before AIR has).
        replay: how many earlier examples each new one is joined by, mirrored anew.  AIR's sampling costs twice what
            learning from its picture does, so the picture is used again: at 3, twice the examples an hour.
        remembered: examples kept for that; the memory starts empty after `--resume`.
    """

    network: NAFNetConfig = field(default_factory=NAFNetConfig)
    timesteps: tuple[int, int] = (0, 999)
    sampled: LoopConfig | None = None
    loss: Literal["mse", "rmse"] = "mse"
    diffused: float = 1.0
    residual: float = 0.0
    replay: int = 0
    remembered: int = 2048


def restoration_loss(restored: Tensor, target: Tensor, kind: Literal["mse", "rmse"]) -> Tensor:
    """MSE over everything, or the mean over images of sqrt(MSE + 1e-6): (B, 3, H, W) twice -> ()."""
    error = (restored - target).float().square()
    if kind == "mse":
        return error.mean()
    return (error.mean(dim=(1, 2, 3)) + 1e-6).sqrt().mean()


def _untrained(config: SCMConfig) -> NAFNet:
    network = NAFNet(config.network)
    for name, parameter in network.named_parameters():
        if name.endswith((".beta", ".gamma")):
            nn.init.constant_(parameter, config.residual)
    if config.residual:  # awake blocks would start as noise in the picture; a silent last layer starts as "no change"
        nn.init.zeros_(network.ending.weight)
        if network.ending.bias is not None:
            nn.init.zeros_(network.ending.bias)
    return network


class SCMStage:
    """Trains NAFNet on top of a frozen AIR (None: its estimate is always the degraded picture)."""

    name = "scm"

    def __init__(
        self, config: SCMConfig, run: RunConfig, pools: tuple[PhotoPool, PhotoPool], names: tuple[str, ...],
        estimator: Estimator | None,
    ) -> None:  # fmt: skip
        self.config, self.run, self.names, self.estimator = config, run, names, estimator
        self.pairs = Pairs(pools[0], run.crop, run.mixture, names, run.seed)
        self.network: nn.Module = _untrained(config)
        self.held_out = validation_examples(pools[1], names, crop_px=128, each=8)
        self._replay = Replay(config.remembered, mirrored)  # (degraded, diffused, target), each (3, H, W)

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        fresh = torch.stack([batch["degraded"], self._diffused(batch, generator), batch["target"]], dim=1)
        if self.config.replay:
            fresh = self._replay.join(fresh, self.config.replay, generator)
        degraded, diffused, target = fresh.unbind(1)
        return restoration_loss(self.network(degraded, diffused).float(), target, self.config.loss)

    def _diffused(self, batch: Example, generator: torch.Generator) -> Tensor:
        if self.estimator is None:
            return batch["degraded"]
        estimate = self._estimate(batch, self.config.timesteps, generator)
        chosen = torch.rand(len(estimate), generator=generator) < self.config.diffused
        return torch.where(chosen.to(estimate.device)[:, None, None, None], estimate, batch["degraded"])

    def _estimate(self, batch: Example, timesteps: tuple[int, int], generator: torch.Generator) -> Tensor:
        assert self.estimator is not None
        if self.config.sampled is not None:
            return self.estimator.sample(batch, self.config.sampled, generator)
        return self.estimator.estimate(batch, timesteps, generator)

    def validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device
        generator = torch.Generator().manual_seed(0)

        def restore(example: Example) -> tuple[Tensor, Tensor]:
            example = {key: value.to(device) for key, value in example.items()}
            alone = self.estimator is None
            diffused = example["degraded"] if alone else self._estimate(example, (999, 999), generator)
            return diffused.cpu(), network(example["degraded"], diffused).cpu()

        return score_restoration(self.held_out, self.names, restore)
