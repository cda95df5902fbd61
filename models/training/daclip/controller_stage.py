"""The stages `daclip` and `daclip-wild`: the controller learns to see content and degradation (arXiv:2310.01018).

Only the controller, its links and the temperature are trained beside a frozen base CLIP; without a base, as for a small
network that has none, its image tower is trained along, and its text tower too where none is given.

Shapes:  B batch, S the tower's side in px.  Pictures are RGB (B, 3, S, S) in [-1, 1]; tokens (B, 77).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.daclip.controller import ControllerConfig, DaCLIP
from models.training.core.config import RunConfig
from models.training.core.trainer import Validation
from models.training.daclip.contrastive import Embedded, Terms, clamp_temperature, contrastive_terms, info_nce
from models.training.data.captioned import WORDS, as_unit
from models.training.data.dataset import Example, batches


@dataclass(frozen=True, kw_only=True)
class DaCLIPStageConfig:
    """`robust` adds the third term with this weight (see models.training.daclip.contrastive).

    `content` is the share of the steps that also learn the content (published: all); it costs half of a step.
    """

    network: ControllerConfig = field(default_factory=ControllerConfig)
    robust: bool = False
    weight: float = 1.0
    content: float = 1.0


class DaCLIPStage:
    """Trains the controller; the parts of the base that `frozen` names ("visual", "text") stay as they are."""

    def __init__(
        self, config: DaCLIPStageConfig, run: RunConfig, examples: Dataset[Example], held_out: Sequence[Example],
        network: DaCLIP, *, frozen: Collection[str], name: str = "daclip",
    ) -> None:  # fmt: skip
        self.config, self.run, self.name, self.held_out = config, run, name, held_out
        self._examples = examples
        for key, parameter in network.clip.named_parameters():
            parameter.requires_grad_(("visual" if key.startswith("visual.") else "text") not in frozen)
        self.network: nn.Module = network

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self._examples, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        network = self.network
        assert isinstance(network, DaCLIP)
        clamp_temperature(network.logit_scale)  # what the last step did; the trainer knows no constraints
        if torch.rand((), generator=generator) >= self.config.content:
            return self._degradation(network, batch)
        return self.terms(network, batch).total

    def _degradation(self, network: DaCLIP, batch: Example) -> Tensor:
        """The second term alone: half of the work."""
        found, _ = network.degradation(seen(batch["degraded"], network.config))
        found, word = (F.normalize(part.float(), dim=-1) for part in (found, network.text(batch["word"])))
        return info_nce(found, word, network.logit_scale)

    def terms(self, network: DaCLIP, batch: Example) -> Terms:
        """The loss by its parts."""
        content, degradation = network(seen(batch["degraded"], network.config))
        said = Embedded(
            content=F.normalize(content.float(), dim=-1),
            caption=F.normalize(network.text(batch["caption"]).float(), dim=-1),
            degradation=F.normalize(degradation.float(), dim=-1),
            word=F.normalize(network.text(batch["word"]).float(), dim=-1),
        )
        if not self.config.robust:
            return contrastive_terms(said, network.logit_scale)
        with torch.no_grad():  # the original image tower, without controls, on the good picture
            clean = network.content(seen(batch["target"], network.config))
        return contrastive_terms(said, network.logit_scale, F.normalize(clean.float(), dim=-1), self.config.weight)

    def validate(self, network: nn.Module) -> Validation:
        """Shares of held-out pictures whose degradation, and whose caption, is the nearest of all held-out texts."""
        assert isinstance(network, DaCLIP)
        device = network.device
        held = [{key: value.to(device) for key, value in batch.items()} for batch in self.held_out]
        embedded = [network(seen(batch["degraded"], network.config)) for batch in held]
        content, degradation = (torch.cat(parts) for parts in zip(*embedded, strict=True))
        word = torch.cat([batch["word"] for batch in held])
        right = {
            "degradation": _nearest(network, degradation, word),
            "caption": _nearest(network, content, torch.cat([batch["caption"] for batch in held])),
        }
        kinds = torch.cat([batch["kind"] for batch in held])
        each = {
            name: float(right["degradation"][kinds == index].float().mean())
            for index, name in enumerate(WORDS)
            if bool((kinds == index).any())
        }
        shares = {name: float(hits.float().mean()) for name, hits in right.items()}
        return Validation(score=shares["degradation"] + 0.1 * shares["caption"], figures={**shares, **each})


def _nearest(network: DaCLIP, features: Tensor, own: Tensor) -> Tensor:
    """Whether each picture's text (tokens (B, 77)) is the nearest of the distinct ones: (B,) bool."""
    texts, index = torch.unique(own, dim=0, return_inverse=True)
    nearest: Tensor = (F.normalize(features, dim=-1) @ F.normalize(network.text(texts), dim=-1).T).argmax(dim=-1)
    hits: Tensor = nearest == index
    return hits


def seen(images: Tensor, config: ControllerConfig) -> Tensor:
    """The towers' view of whole crops: (B, 3, H, W) in [-1, 1] -> (B, 3, S, S), normalized.

    Resized by torch on the device, in float; at inference PIL does it in 8 bits, about half a step away on the mean.
    """
    clip = config.clip
    side = clip.vision.image_size
    unit = as_unit(images)
    if images.shape[-2:] != (side, side):
        unit = F.interpolate(unit, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    mean, std = (images.new_tensor(values)[:, None, None] for values in (clip.mean, clip.std))
    return (unit - mean) / std


def validation_batches(examples: Dataset[Example], batches: int, each: int) -> list[Example]:
    """The first examples dealt out to so many batches: with ten, each holds one of the ten kinds in their order."""
    dealt = [[examples[at + batches * turn] for turn in range(each)] for at in range(batches)]
    return [{key: torch.stack([example[key] for example in part]) for key in part[0]} for part in dealt]
