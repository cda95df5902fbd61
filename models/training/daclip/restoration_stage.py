"""The stages `irsde`, `etdiffir` and `nafnet-daclip`: restoration networks under a frozen DA-CLIP's guidance.

IR-SDE's networks learn by the matching loss at a random step of each picture (arXiv:2301.11699); the one-step network
by the mean absolute error.

Shapes:  B batch, H W pixels, D joint width.  Pictures of a batch are RGB (B, 3, H, W) in [-1, 1]; the networks work in
[0, 1].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.conditional_unet import ConditionalUNet, Constants
from models.daclip.controller import DaCLIP, match_norm
from models.daclip.irsde import IRSDE, SDEConfig, diffuse, initial_state, matching_loss, posterior_step
from models.etdiffir.erunet import EfficientUNet
from models.etdiffir.fusion import fuse
from models.training.core.config import RunConfig
from models.training.core.trainer import Validation
from models.training.core.validation import score_restoration
from models.training.daclip.controller_stage import seen
from models.training.data.captioned import WORDS, as_unit
from models.training.data.dataset import Example, batches


@dataclass(frozen=True, kw_only=True)
class RestoringConfig:
    """`validation_steps`: steps of posterior sampling for a validation, where the published program takes 100.

    `told` is the share of pictures whose condition is their word's text feature, as a user's prompt is, and not the
    controller's embedding (published: 0); with 1 the one-step network can be trained while the controller still is.
    """

    network: object
    sde: SDEConfig = field(default_factory=SDEConfig)
    validation_steps: int = 10
    told: float = 0.0


class SDEStage:
    """Trains a U-Net that knows the noise of a state, IR-SDE's or ETDiffIR's.

    `held_out` holds one batch for each of `kinds`, whose gain in PSNR a validation names.
    """

    def __init__(
        self, config: RestoringConfig, run: RunConfig, examples: Dataset[Example], held_out: Sequence[Example],
        daclip: DaCLIP, network: ConditionalUNet, *, name: str = "irsde", kinds: Sequence[str] = WORDS,
    ) -> None:  # fmt: skip
        self.config, self.run, self.name, self.held_out, self.kinds = config, run, name, held_out, kinds
        self._examples, self.daclip = examples, daclip.eval().requires_grad_(False)
        self.sde = IRSDE(config.sde)
        self.network: nn.Module = network

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self._examples, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        mu, x0 = as_unit(batch["degraded"]), as_unit(batch["target"])
        t = torch.randint(1, self.sde.T + 1, (len(mu),), generator=generator).to(mu.device)
        noise = torch.randn(mu.shape, generator=generator).to(mu.device)
        at = self.sde.at(t)
        state = diffuse(x0, mu, noise, at)
        network = self.network
        assert isinstance(network, ConditionalUNet)
        # The network's norms take another eps below float32, and it is run in float32
        with torch.autocast(mu.device.type, enabled=False):
            eps = network(state, mu, at.time.flatten(), self.constants(network, batch))
            return matching_loss(state, x0, mu, eps, at)

    def constants(self, network: ConditionalUNet, batch: Example) -> Constants:
        """What the frozen DA-CLIP says of the degraded pictures, as this network takes it."""
        content, degradation = guidance(self.daclip, batch["degraded"])
        if not isinstance(network, EfficientUNet):
            return network.prepare(content, degradation)
        with torch.no_grad():
            caption = self.daclip.text(batch["caption"])
        return network.prepare(*fuse(caption, degradation, network.efficient.mode))

    def validate(self, network: nn.Module) -> Validation:
        assert isinstance(network, ConditionalUNet)
        device = next(network.parameters()).device
        sde = IRSDE(replace(self.config.sde, sample_steps=self.config.validation_steps))
        generator = torch.Generator().manual_seed(0)

        def restore(example: Example) -> tuple[Tensor]:
            example = {key: value.to(device) for key, value in example.items()}
            return (self._sample(network, sde, example, generator).cpu(),)

        return score_restoration(self.held_out, self.kinds, restore)

    def _sample(self, network: ConditionalUNet, sde: IRSDE, batch: Example, generator: torch.Generator) -> Tensor:
        """Posterior sampling: a batch of examples -> (B, 3, H, W) in [-1, 1]."""
        mu, constants = as_unit(batch["degraded"]), self.constants(network, batch)
        x = initial_state(mu, torch.randn(mu.shape, generator=generator).to(mu.device), sde.max_sigma)
        for step in range(sde.T, 0, -1):
            at = sde.at(torch.full((len(mu),), step, device=mu.device))
            eps = network(x, mu, at.time.flatten(), constants)
            x = posterior_step(x, mu, eps, torch.randn(mu.shape, generator=generator).to(mu.device), at)
        return x * 2 - 1


class OneStepStage:
    """Trains the NAFNet that answers in one step, by the mean absolute error (the paper leaves its loss open)."""

    name = "nafnet-daclip"

    def __init__(
        self, config: RestoringConfig, run: RunConfig, examples: Dataset[Example], held_out: Sequence[Example],
        daclip: DaCLIP, network: ConditionalNAFNet, *, kinds: Sequence[str] = WORDS,
    ) -> None:  # fmt: skip
        self.config, self.run, self.held_out, self.kinds = config, run, held_out, kinds
        self._examples, self.daclip = examples, daclip.eval().requires_grad_(False)
        self.network: nn.Module = network

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self._examples, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        told = torch.rand((len(batch["degraded"]), 1), generator=generator) < self.config.told
        restored = self._restored(self.network, batch, told.to(batch["degraded"].device))
        return F.l1_loss(restored.float(), as_unit(batch["target"]))

    def _restored(self, network: nn.Module, batch: Example, told: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], not clamped; `told` (B, 1) says which pictures come with their word."""
        assert isinstance(network, ConditionalNAFNet)
        content, degradation = guidance(self.daclip, batch["degraded"])
        if bool(told.any()):
            with torch.no_grad():
                degradation = torch.where(told, match_norm(self.daclip.text(batch["word"]), degradation), degradation)
        return network(as_unit(batch["degraded"]), network.prepare(content, degradation))  # type: ignore[no-any-return]

    def validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device

        def restore(example: Example) -> tuple[Tensor]:
            example = {key: value.to(device) for key, value in example.items()}
            told = torch.full((len(example["kind"]), 1), self.config.told >= 1, device=device)
            return (self._restored(network, example, told).mul(2).sub(1).cpu(),)

        return score_restoration(self.held_out, self.kinds, restore)


@torch.no_grad()
def guidance(daclip: DaCLIP, images: Tensor) -> tuple[Tensor, Tensor]:
    """Content and degradation embeddings of pictures (B, 3, H, W) in [-1, 1]: 2 x (B, D); moves the towers along."""
    daclip.to(images.device)
    content, degradation = daclip(seen(images, daclip.config))
    return content.float(), degradation.float()
