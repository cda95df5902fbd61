"""Stage one: the assessor (arXiv:2310.10123, section 3.1).

The text tower is frozen; the image tower learns from pairs of a degraded image and its clean twin:

    L_FID = 1 - sum_i sqrt(y_i p_i(I))      agree with the true degradation
    L_SA  =     sum_i sqrt(y_i p_i(I_gt))   do not see the artifact in the clean twin (semantics must not decide)

Shapes:  B batch, K names.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from models.autodir.assessor import Assessor
from models.autodir.specialists import Specialists
from models.errors import TrainingError
from models.networks.clip import ClipConfig
from models.networks.drunet import DRUNet
from models.networks.evidence_encoder import EvidenceEncoder
from models.training.autodir.second_pass import repair
from models.training.core.config import RunConfig
from models.training.core.replay import Replay
from models.training.core.text import load_text_tower
from models.training.core.trainer import Validation
from models.training.core.validation import validation_examples
from models.training.data.dataset import Example, Pairs, batches
from models.training.data.photos import PhotoPool
from models.vocabulary import CLEAN


@dataclass(frozen=True, kw_only=True)
class AssessorConfig:
    """`sa_weight` is the paper's lambda; `clean_weight` adds L_FID of the clean twin toward "clean" (published: 0).

    `cross_entropy` adds as much of it to every L_FID (published: 0): the fidelity loss has no slope where the right
    answer's probability is near zero, so a confident mistake would stay one.  `twins` is the share of the pictures
    whose clean twin is looked at too (published: 1); `repaired` the share that a specialist has repaired first
    (published: 0).

    With `replay`, a tower that asks restorers learns its last layers alone.  What the rest sees of a picture is then
    the same for ever: each new picture is joined by as many earlier ones, of the last `remembered`.
    """

    network: ClipConfig = field(default_factory=ClipConfig)
    sa_weight: float = 1.0
    clean_weight: float = 0.0
    cross_entropy: float = 0.0
    twins: float = 1.0
    repaired: float = 0.0
    replay: int = 0
    remembered: int = 60_000


def fidelity_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """L_FID, mean over the batch: (B, K) in [0, 1] and (B, K) that sum to 1 -> ()."""
    return 1 - _overlap(probabilities, labels)


def semantic_agnostic_loss(clean_probabilities: Tensor, labels: Tensor) -> Tensor:
    """L_SA, mean over the batch; pairs whose label is "clean" must be left out by the caller."""
    return _overlap(clean_probabilities, labels)


def _overlap(probabilities: Tensor, labels: Tensor) -> Tensor:
    # sqrt has no gradient at 0: the floor keeps a wholly wrong answer from freezing
    return (labels * probabilities.clamp_min(1e-8)).clamp_min(1e-12).sqrt().mul(labels > 0).sum(dim=-1).mean()


def begin_as(assessor: Assessor, glance: Path, restorers: Sequence[DRUNet]) -> None:
    """Give a tower that asks restorers what is trained already: CLIP's own tower, and the restorers in their order.

    Raises:
        TrainingError: the file of the stage `glance` is missing or does not fit.
    """
    tower = _asking(assessor)
    prefix = "clip.visual."
    try:
        found = {
            name.removeprefix(prefix): value for name, value in load_file(glance).items() if name.startswith(prefix)
        }
        tower.own.load_state_dict(found)
    except (OSError, RuntimeError) as error:
        raise TrainingError(f"{glance} does not fit the tower that it is to begin: {error}") from error
    for branch, restorer in zip(tower.branches, restorers, strict=True):
        branch.load_state_dict(restorer.state_dict())


def _asking(assessor: Assessor) -> EvidenceEncoder:
    tower = assessor.clip.get_submodule("visual")
    assert isinstance(tower, EvidenceEncoder), "only a tower that asks restorers has evidence to learn from"
    return tower


SEEING = ("visual.own.", "visual.branches.")


class AssessorStage:
    """Trains the image tower and the temperature."""

    name = "assessor"

    def __init__(
        self, config: AssessorConfig, run: RunConfig, pools: tuple[PhotoPool, PhotoPool], names: tuple[str, ...],
        text: Path, specialists: Specialists | None = None,
    ) -> None:  # fmt: skip
        self.config, self.run, self.names = config, run, names
        self.assessor = Assessor(config.network, names)
        load_text_tower(self.assessor.clip, text)
        self.assessor.forget_prompts()
        self.assessor.prompts()  # before any autocast: they are constants
        self.network: nn.Module = self.assessor
        self.specialists = specialists
        for name, parameter in self.assessor.clip.named_parameters():
            learns = name.startswith("visual.") and not (config.replay and name.startswith(SEEING))
            parameter.requires_grad_(learns or name == "logit_scale")
        self._replay = Replay(config.remembered)
        self.pairs = Pairs(pools[0], run.crop, run.mixture, names, run.seed)
        self.clean = names.index(CLEAN)
        self.held_out = validation_examples(pools[1], names, crop_px=config.network.vision.image_size, each=32)

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        degraded, labels, gone = self._passed(batch)
        twins = math.ceil(self.config.twins * len(labels))
        if self.config.replay:
            return self._again(degraded, labels, gone, batch["clean"][:twins], generator)
        views = torch.cat([degraded, batch["clean"][:twins]]).add(1).div(2)
        logits = self.assessor.logits(self.assessor.image_features(views)).float()
        seen, seen_clean = logits[: len(labels)] + gone, logits[len(labels) :]
        damaged = labels[:twins, self.clean] < 0.5
        loss = self._agree(seen, labels)
        if bool(damaged.any()):
            twin, artifacts = seen_clean[damaged], labels[:twins][damaged]
            loss = loss + self.config.sa_weight * semantic_agnostic_loss(twin.softmax(dim=-1), artifacts)
            if self.config.clean_weight:
                is_clean = torch.zeros_like(twin)
                is_clean[:, self.clean] = 1
                loss = loss + self.config.clean_weight * self._agree(twin, is_clean)
        return loss

    def _again(
        self, degraded: Tensor, labels: Tensor, gone: Tensor, twins: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Fresh pictures and earlier ones, as the tower has seen them; twins are clean pictures among others."""
        tower = _asking(self.assessor)
        tower.own.eval()  # its norms too stay as they are
        with torch.no_grad():
            seen = self.assessor.evidence(torch.cat([degraded, twins]).add(1).div(2))
        are_clean = torch.zeros_like(labels[: len(twins)])
        are_clean[:, self.clean] = 1
        said = torch.cat([torch.cat([labels, are_clean]), torch.cat([gone, torch.zeros_like(are_clean)])], dim=1)
        joined = self._replay.join(torch.cat([seen, said], dim=1), self.config.replay, generator)
        figures, names = seen.shape[1], len(self.names)
        seen, labels, gone = torch.split(joined, [figures, names, names], dim=1)
        features = F.normalize(tower.embed(seen).float(), dim=-1)
        return self._agree(self.assessor.logits(features) + gone, labels)

    def _passed(self, batch: Example) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, labels, and what is added to logits: the last pictures of the batch are shown repaired."""
        degraded, labels = batch["degraded"], batch["labels"]
        gone = torch.zeros_like(labels)
        first = len(labels) - round(self.config.repaired * len(labels))
        if self.specialists is not None and first < len(labels):
            done = repair(degraded[first:], labels[first:], batch["label"][first:], self.specialists, self.names)
            pairs = zip((degraded, labels, gone), done, strict=True)
            degraded, labels, gone = (torch.cat([all_[:first], repaired]) for all_, repaired in pairs)
        return degraded, labels, gone

    def _agree(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = fidelity_loss(logits.softmax(dim=-1), labels)
        if self.config.cross_entropy:
            loss = loss + self.config.cross_entropy * F.cross_entropy(logits, labels)
        return loss

    def validate(self, network: nn.Module) -> Validation:
        """Accuracy per name on held-out photographs; the score is their mean."""
        device = self.assessor.device
        figures = {}
        for index, (name, example) in enumerate(zip(self.names, self.held_out, strict=True)):
            features = self.assessor.image_features(example["degraded"].to(device).add(1).div(2))
            answers = self.assessor.logits(features).argmax(dim=-1)
            figures[name] = float((answers == index).float().mean())
        return Validation(score=sum(figures.values()) / len(figures), figures=figures)
