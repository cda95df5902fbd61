"""The stages `daclip` and `daclip-wild`: the controller learns content and degradation embeddings (arXiv:2310.01018).

With a frozen base CLIP, only the controller, its links and the temperature are trained.  A small network has no base:
its image encoder is trained too, and its text encoder if none is given.

Shapes:  B batch, S input side of the image encoder in px.  Pictures are RGB (B, 3, S, S) in [-1, 1]; tokens (B, 77).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.daclip.controller import ControllerConfig, DaCLIP
from models.training.core.run_config import RunConfig
from models.training.core.trainer import Validation
from models.training.daclip.contrastive import Embeddings, LossTerms, clamp_temperature, contrastive_terms, info_nce
from models.training.data.captioned_examples import WORDS, to_unit_range
from models.training.data.dataset import Example, batches
from models.training.data.share import ALONE, Draws, Share


@dataclass(frozen=True, kw_only=True)
class DaCLIPStageConfig:
    """The loss (models.training.daclip.contrastive).

    Attributes:
        robust: add the robust term.
        weight: weight of the robust term.
        content_share: share of the steps that also train the content term, which is half of the work; published: 1.
    """

    network: ControllerConfig = field(default_factory=ControllerConfig)
    robust: bool = False
    weight: float = 1.0
    content_share: float = 1.0


class DaCLIPStage:
    """Trains the controller; `frozen` names the parts of the base that do not change ("visual", "text")."""

    def __init__(
        self, config: DaCLIPStageConfig, run: RunConfig, examples: Dataset[Example], held_out: Sequence[Example],
        network: DaCLIP, *, frozen: Collection[str], name: str = "daclip",
    ) -> None:  # fmt: skip
        self.config, self.run, self.name, self.held_out = config, run, name, held_out
        self._examples, self.partial = examples, config.content_share < 1
        for key, parameter in network.clip.named_parameters():
            parameter.requires_grad_(("visual" if key.startswith("visual.") else "text") not in frozen)
        self.network: nn.Module = network

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        run = self.run
        return batches(
            self._examples, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu", share=share
        )

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        network = self.network
        assert isinstance(network, DaCLIP)
        clamp_temperature(network.logit_scale)  # after the last step; the trainer does not know constraints
        if draws.uniform(()) >= self.config.content_share:
            return self._degradation(network, batch, draws.share)
        return self.terms(network, batch, draws.share).total

    def _degradation(self, network: DaCLIP, batch: Example, share: Share) -> Tensor:
        """Returns the second term alone: half of the work."""
        degradation, _ = network.degradation(encoder_input(batch["degraded"], network.config))
        parts = (degradation, network.text(batch["word"]))
        degradation, word = (share.gather(F.normalize(part.float(), dim=-1)) for part in parts)
        return info_nce(degradation, word, network.logit_scale)

    def terms(self, network: DaCLIP, batch: Example, share: Share = ALONE) -> LossTerms:
        """Returns all terms of the loss of the whole batch."""

        def unit(features: Tensor) -> Tensor:
            return share.gather(F.normalize(features.float(), dim=-1))

        content, degradation = network(encoder_input(batch["degraded"], network.config))
        embeddings = Embeddings(
            content=unit(content),
            caption=unit(network.text(batch["caption"])),
            degradation=unit(degradation),
            word=unit(network.text(batch["word"])),
        )
        if not self.config.robust:
            return contrastive_terms(embeddings, network.logit_scale)
        with torch.no_grad():  # the base image encoder, without controls, on the clean picture
            clean = network.content(encoder_input(batch["target"], network.config))
        return contrastive_terms(embeddings, network.logit_scale, unit(clean), self.config.weight)

    def validate(self, network: nn.Module) -> Validation:
        """Returns the shares of held-out pictures whose own degradation or caption is the nearest held-out text."""
        assert isinstance(network, DaCLIP)
        device = network.device
        held = [{key: value.to(device) for key, value in batch.items()} for batch in self.held_out]
        embedded = [network(encoder_input(batch["degraded"], network.config)) for batch in held]
        content, degradation = (torch.cat(parts) for parts in zip(*embedded, strict=True))
        word = torch.cat([batch["word"] for batch in held])
        hits = {
            "degradation": _nearest(network, degradation, word),
            "caption": _nearest(network, content, torch.cat([batch["caption"] for batch in held])),
        }
        kinds = torch.cat([batch["kind"] for batch in held])
        by_kind = {
            name: float(hits["degradation"][kinds == index].float().mean())
            for index, name in enumerate(WORDS)
            if bool((kinds == index).any())
        }
        shares = {name: float(own.float().mean()) for name, own in hits.items()}
        return Validation(score=shares["degradation"] + 0.1 * shares["caption"], figures={**shares, **by_kind})


def _nearest(network: DaCLIP, features: Tensor, own: Tensor) -> Tensor:
    """Returns whether the own text (tokens (B, 77)) is the nearest of the distinct texts: (B,) bool."""
    texts, index = torch.unique(own, dim=0, return_inverse=True)
    nearest: Tensor = (F.normalize(features, dim=-1) @ F.normalize(network.text(texts), dim=-1).T).argmax(dim=-1)
    hits: Tensor = nearest == index
    return hits


def encoder_input(images: Tensor, config: ControllerConfig) -> Tensor:
    """Resize and normalize whole crops for the image encoders: (B, 3, H, W) in [-1, 1] -> (B, 3, S, S).

    Torch resizes in float on the device; PIL, which inference uses, works in 8 bits and differs by about half a level.
    """
    clip = config.clip
    side = clip.vision.image_size
    unit = to_unit_range(images)
    if images.shape[-2:] != (side, side):
        unit = F.interpolate(unit, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    mean, std = (images.new_tensor(values)[:, None, None] for values in (clip.mean, clip.std))
    return (unit - mean) / std


def validation_batches(examples: Dataset[Example], batches: int, each: int) -> list[Example]:
    """Deal the first examples out to `batches` batches of `each`; with ten batches, each holds one of the ten kinds."""
    dealt = [[examples[index + batches * turn] for turn in range(each)] for index in range(batches)]
    return [{key: torch.stack([example[key] for example in part]) for key in part[0]} for part in dealt]
