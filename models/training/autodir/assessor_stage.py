"""The stages `glance` and `assessor`: the AutoDIR assessor (arXiv:2310.10123, section 3.1).

The text encoder is frozen.  The image encoder learns from pairs of a degraded image and its clean twin:

    L_FID = 1 - sum_i sqrt(y_i p_i(I))      predict the true degradation
    L_SA  =     sum_i sqrt(y_i p_i(I_gt))   do not predict it for the clean twin (the content must not decide)

Shapes:  B batch, K names.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.autodir.assessor import Assessor
from models.autodir.specialists import Specialists
from models.errors import TrainingError
from models.networks.clip import ClipConfig
from models.networks.drunet import DRUNet
from models.networks.evidence_encoder import EvidenceEncoder
from models.training.autodir.evidence_store import ROWS, drawn_rows
from models.training.autodir.second_pass import repair_batch
from models.training.core.replay import ReplayBuffer
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.text_encoder import load_text_encoder
from models.training.core.trainer import Validation
from models.training.core.weights_file import filled
from models.training.data.dataset import Example, batches
from models.training.data.share import ALONE, Draws, Share
from models.vocabulary import CLEAN


@dataclass(frozen=True, kw_only=True)
class AssessorStageConfig:
    """The loss, and the pictures that it is computed on.

    Attributes:
        sa_weight: lambda of the paper, the weight of L_SA.
        clean_weight: weight of L_FID of the clean twin toward "clean"; published: 0.
        cross_entropy: weight of a cross-entropy added to every L_FID; published: 0.  The gradient of L_FID vanishes
            where the probability of the correct answer is near zero, so confident errors would not be corrected.
        twins: share of the pictures whose clean twin is also used; published: 1.
        repaired_share: share of the pictures that a specialist repairs first; published: 0.
        replay: number of earlier examples added for each new one; published: 0.  With a value above 0, an encoder with
            branches trains its last layers only.  The features of a picture then never change, so they are stored.
        replay_capacity: number of stored examples.
    """

    network: ClipConfig = field(default_factory=ClipConfig)
    sa_weight: float = 1.0
    clean_weight: float = 0.0
    cross_entropy: float = 0.0
    twins: float = 1.0
    repaired_share: float = 0.0
    replay: int = 0
    replay_capacity: int = 60_000


def fidelity_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Returns L_FID, the mean over the batch: (B, K) in [0, 1] and (B, K) that sum to 1 -> ()."""
    return 1 - _overlap(probabilities, labels)


def semantic_agnostic_loss(clean_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Returns L_SA, the mean over the batch; the caller must leave out pairs labeled "clean"."""
    return _overlap(clean_probabilities, labels)


def _overlap(probabilities: Tensor, labels: Tensor) -> Tensor:
    # The gradient of sqrt is infinite at 0: the floor keeps it finite for entirely wrong answers
    return (labels * probabilities.clamp_min(1e-8)).clamp_min(1e-12).sqrt().mul(labels > 0).sum(dim=-1).mean()


def load_trained_encoders(assessor: Assessor, glance: Path, restorers: Sequence[DRUNet]) -> None:
    """Load the CLIP image encoder of the stage `glance`, and the restorers in the order of the branches.

    Raises:
        TrainingError: the file of the stage `glance` is missing or does not fit.
    """
    tower = _branch_tower(assessor)
    filled(tower.own, glance, "clip.visual.")
    for branch, restorer in zip(tower.branches, restorers, strict=True):
        branch.load_state_dict(restorer.state_dict())


def _branch_tower(assessor: Assessor) -> EvidenceEncoder:
    tower = assessor.clip.get_submodule("visual")
    assert isinstance(tower, EvidenceEncoder), "only an image encoder with restorer branches has evidence to learn from"
    return tower


FEATURE_EXTRACTORS = ("visual.own.", "visual.branches.")
"""Parameters that stay frozen when features are replayed."""


class AssessorStage:
    """Trains the image encoder and the temperature.

    `weights` is the file of a text encoder, or the tensors of a whole CLIP to start from.
    """

    name = "assessor"
    partial = False

    def __init__(
        self, config: AssessorStageConfig, run: RunConfig, data: TrainingData, names: tuple[str, ...],
        weights: Path | Mapping[str, Tensor], specialists: Specialists | None = None,
    ) -> None:  # fmt: skip
        self.config, self.run, self.names = config, run, names
        self.assessor = Assessor(config.network, names)
        if isinstance(weights, Path):
            load_text_encoder(self.assessor.clip, weights)
        else:
            self.assessor.clip.load_state_dict(weights)
        self.assessor.forget_prompts()
        self.assessor.prompts()  # computed before any autocast: they are constants
        self.network: nn.Module = self.assessor
        self.specialists = specialists
        for name, parameter in self.assessor.clip.named_parameters():
            learns = name.startswith("visual.") and not (config.replay and name.startswith(FEATURE_EXTRACTORS))
            parameter.requires_grad_(learns or name == "logit_scale")
        self._replay = ReplayBuffer(config.replay_capacity)
        self._stored: Tensor | None = None
        self.pairs = data.examples(run, names)
        self.clean = names.index(CLEAN)
        self.held_out = data.held_out(names, crop_px=config.network.vision.image_size, each=32)

    def use_stored(self, rows: Tensor) -> None:
        """Train on evidence that the command `evidence` has stored, (N, F + 2 K), instead of on fresh pictures.

        Raises:
            TrainingError: the rows are not as long as those of this assessor.
        """
        expected = _branch_tower(self.assessor).norm.num_features + 2 * len(self.names)
        if rows.shape[1] != expected:
            raise TrainingError(
                f"got stored evidence of {rows.shape[1]} figures an example, expected {expected}: it is that of other "
                "networks. Run the command evidence again with these."
            )
        self._stored = rows

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        run = self.run
        if self._stored is not None:
            return drawn_rows(self._stored, start // run.batch, run.batch * (1 + self.config.replay), run.seed)
        return batches(
            self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu", share=share
        )

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        if ROWS in batch:
            return self._rows_loss(batch[ROWS])
        if self.config.replay:
            fresh = self.evidence_rows(batch, draws.share)
            return self._rows_loss(self._replay.join(fresh, self.config.replay, Draws(draws.generator)))
        share = draws.share
        degraded, labels, offsets = self._partly_repaired(batch, share)
        twins, own_twins = self._twins(batch, share)
        views = torch.cat([degraded, own_twins]).add(1).div(2)
        features = self.assessor.image_features(views)
        features, twin_features = (share.gather(part) for part in (features[: len(labels)], features[len(labels) :]))
        logits, twin_logits = (self.assessor.logits(part).float() for part in (features, twin_features))
        labels, offsets = share.gather(labels), share.gather(offsets)
        loss = self._classification_loss(logits + offsets, labels)
        damaged = labels[:twins, self.clean] < 0.5
        if bool(damaged.any()):
            twin_logits, artifacts = twin_logits[damaged], labels[:twins][damaged]
            loss = loss + self.config.sa_weight * semantic_agnostic_loss(twin_logits.softmax(dim=-1), artifacts)
            if self.config.clean_weight:
                is_clean = torch.zeros_like(twin_logits)
                is_clean[:, self.clean] = 1
                loss = loss + self.config.clean_weight * self._classification_loss(twin_logits, is_clean)
        return loss

    @torch.no_grad()
    def evidence_rows(self, batch: Example, share: Share = ALONE) -> Tensor:
        """Returns evidence, labels, and offsets for the logits of the whole batch, (N, F + 2 K).

        The clean twins come last; here they count as pictures labeled "clean".  Finding evidence is nearly all of the
        work, and processes share it.  The last layers are small, so each process trains them on the evidence of all.
        """
        degraded, labels, offsets = self._partly_repaired(batch, share)
        _, twins = self._twins(batch, share)
        _branch_tower(self.assessor).own.eval()  # its norms are frozen too
        evidence, count = self.assessor.evidence(torch.cat([degraded, twins]).add(1).div(2)), len(labels)
        evidence = torch.cat([share.gather(evidence[:count]), share.gather(evidence[count:])])
        labels, offsets = share.gather(labels), share.gather(offsets)
        are_clean = torch.zeros_like(labels[: len(evidence) - len(labels)])
        are_clean[:, self.clean] = 1
        answers = torch.cat([torch.cat([labels, are_clean]), torch.cat([offsets, torch.zeros_like(are_clean)])], dim=1)
        return torch.cat([evidence, answers], dim=1)

    def _rows_loss(self, rows: Tensor) -> Tensor:
        """Returns the loss of the last layers on `evidence_rows`, (N, F + 2 K) on any device."""
        names = len(self.names)
        rows = rows.to(self.assessor.device, torch.float32)
        evidence, labels, offsets = torch.split(rows, [rows.shape[1] - 2 * names, names, names], dim=1)
        features = F.normalize(_branch_tower(self.assessor).embed(evidence).float(), dim=-1)
        return self._classification_loss(self.assessor.logits(features) + offsets, labels)

    def _twins(self, batch: Example, share: Share) -> tuple[int, Tensor]:
        """Returns how many clean twins the whole batch has, and those of this process."""
        own = len(batch["labels"])
        count = math.ceil(self.config.twins * own * share.count)
        return count, batch["clean"][: share.before(count, own)]

    def _partly_repaired(self, batch: Example, share: Share) -> tuple[Tensor, Tensor, Tensor]:
        """Repair the last pictures of the whole batch; returns pictures, labels, and offsets for the logits."""
        degraded, labels = batch["degraded"], batch["labels"]
        offsets = torch.zeros_like(labels)
        whole = share.count * len(labels)
        first = share.before(whole - round(self.config.repaired_share * whole), len(labels))
        if self.specialists is None or first == len(labels):
            return degraded, labels, offsets
        repaired = repair_batch(degraded[first:], labels[first:], batch["label"][first:], self.specialists, self.names)
        return (
            torch.cat([degraded[:first], repaired.pictures]),
            torch.cat([labels[:first], repaired.labels]),
            torch.cat([offsets[:first], repaired.logit_offsets]),
        )

    def _classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = fidelity_loss(logits.softmax(dim=-1), labels)
        if self.config.cross_entropy:
            loss = loss + self.config.cross_entropy * F.cross_entropy(logits, labels)
        return loss

    def validate(self, network: nn.Module) -> Validation:
        """Returns the accuracy per name on held-out photographs; the score is the mean."""
        device = self.assessor.device
        figures = {}
        for entry in self.held_out:
            features = self.assessor.image_features(entry.example["degraded"].to(device).add(1).div(2))
            answers = self.assessor.logits(features).argmax(dim=-1)
            figures[entry.title] = float((answers == self.names.index(entry.name)).float().mean())
        return Validation(score=sum(figures.values()) / len(figures), figures=figures)
