"""The stages `irsde`, `etdiffir` and `nafnet-daclip`: restoration networks conditioned by a frozen DA-CLIP.

The loss of the SDE networks is the matching loss at a random step of each picture (arXiv:2301.11699); the loss of the
one-step network is the mean absolute error.

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
from models.training.core.run_config import RunConfig
from models.training.core.trainer import Validation
from models.training.core.validation import score_restoration
from models.training.daclip.controller_stage import encoder_input
from models.training.data.captioned_examples import WORDS, to_unit_range
from models.training.data.dataset import Example, batches
from models.training.data.share import ALONE, Draws, Share


@dataclass(frozen=True, kw_only=True)
class RestorationStageConfig:
    """The network and its training.

    Attributes:
        validation_steps: steps of posterior sampling in a validation; the published program takes 100.
        word_share: share of pictures conditioned by the text feature of their word, like a user's prompt, and not by
            the embedding of the controller; published: 0.  With 1, the one-step network can be trained before the
            controller.
    """

    network: object
    sde: SDEConfig = field(default_factory=SDEConfig)
    validation_steps: int = 10
    word_share: float = 0.0


class SDEStage:
    """Trains a U-Net of IR-SDE or ETDiffIR, which predicts the noise of a state.

    `held_out` holds one batch for each of `kinds`; a validation reports the PSNR gain of each.
    """

    partial = False

    def __init__(
        self, config: RestorationStageConfig, run: RunConfig, examples: Dataset[Example], held_out: Sequence[Example],
        daclip: DaCLIP, network: ConditionalUNet, *, name: str = "irsde", kinds: Sequence[str] = WORDS,
    ) -> None:  # fmt: skip
        self.config, self.run, self.name, self.held_out, self.kinds = config, run, name, held_out, kinds
        self._examples, self.daclip = examples, daclip.eval().requires_grad_(False)
        self.sde = IRSDE(config.sde)
        self.network: nn.Module = network

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        run = self.run
        return batches(
            self._examples, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu", share=share
        )

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        mu, x0 = to_unit_range(batch["degraded"]), to_unit_range(batch["target"])
        t = draws.integers(1, self.sde.T + 1, len(mu)).to(mu.device)
        noise = draws.normal(mu.shape).to(mu.device)
        at = self.sde.at(t)
        state = diffuse(x0, mu, noise, at)
        network = self.network
        assert isinstance(network, ConditionalUNet)
        # Inference runs in float32, and the norms of the network use another eps in lower precision
        with torch.autocast(mu.device.type, enabled=False):
            eps = network(state, mu, at.time.flatten(), self.constants(network, batch))
            return matching_loss(state, x0, mu, eps, at)

    def constants(self, network: ConditionalUNet, batch: Example) -> Constants:
        """Returns the conditions that this network computes once per picture from the frozen DA-CLIP."""
        content, degradation = image_embeddings(self.daclip, batch["degraded"])
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
        mu, constants = to_unit_range(batch["degraded"]), self.constants(network, batch)
        x = initial_state(mu, torch.randn(mu.shape, generator=generator).to(mu.device), sde.max_sigma)
        for step in range(sde.T, 0, -1):
            at = sde.at(torch.full((len(mu),), step, device=mu.device))
            eps = network(x, mu, at.time.flatten(), constants)
            x = posterior_step(x, mu, eps, torch.randn(mu.shape, generator=generator).to(mu.device), at)
        return x * 2 - 1


class OneStepStage:
    """Trains the one-step NAFNet by the mean absolute error; the paper does not state its loss."""

    name = "nafnet-daclip"
    partial = False

    def __init__(
        self, config: RestorationStageConfig, run: RunConfig, examples: Dataset[Example], held_out: Sequence[Example],
        daclip: DaCLIP, network: ConditionalNAFNet, *, kinds: Sequence[str] = WORDS,
    ) -> None:  # fmt: skip
        self.config, self.run, self.held_out, self.kinds = config, run, held_out, kinds
        self._examples, self.daclip = examples, daclip.eval().requires_grad_(False)
        self.network: nn.Module = network

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        run = self.run
        return batches(
            self._examples, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu", share=share
        )

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        by_word = draws.uniform((len(batch["degraded"]), 1)) < self.config.word_share
        restored = self._restored(self.network, batch, by_word.to(batch["degraded"].device))
        return F.l1_loss(restored.float(), to_unit_range(batch["target"]))

    def _restored(self, network: nn.Module, batch: Example, by_word: Tensor) -> Tensor:
        """Returns (B, 3, H, W) in [0, 1], not clamped; `by_word` (B, 1) selects the pictures conditioned by a word."""
        assert isinstance(network, ConditionalNAFNet)
        content, degradation = image_embeddings(self.daclip, batch["degraded"])
        if bool(by_word.any()):
            with torch.no_grad():
                words = match_norm(self.daclip.text(batch["word"]), degradation)
                degradation = torch.where(by_word, words, degradation)
        return network(to_unit_range(batch["degraded"]), network.prepare(content, degradation))  # type: ignore[no-any-return]

    def validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device

        def restore(example: Example) -> tuple[Tensor]:
            example = {key: value.to(device) for key, value in example.items()}
            by_word = torch.full((len(example["kind"]), 1), self.config.word_share >= 1, device=device)
            return (self._restored(network, example, by_word).mul(2).sub(1).cpu(),)

        return score_restoration(self.held_out, self.kinds, restore)


@torch.no_grad()
def image_embeddings(daclip: DaCLIP, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns content and degradation embeddings of pictures (B, 3, H, W) in [-1, 1]: 2 x (B, D).

    Moves DA-CLIP to the device of the pictures.
    """
    daclip.to(images.device)
    content, degradation = daclip(encoder_input(images, daclip.config))
    return content.float(), degradation.float()
