"""The assessor's last layers learn a new degradation from stored evidence, without unlearning the old ones.

The features of a picture (models.networks.evidence_encoder) do not change while the last layers are trained, so each
picture is computed once.  Three kinds of pictures take part in each step:

    damaged photos of the pairs               the answer is the new degradation
    undamaged photos of the pairs             the answer is that of the assessor before: the content must not decide
    photos with synthetic damage (replay)     likewise (learning without forgetting, Li & Hoiem 2016, arXiv:1606.09282)

Shapes:  V views, F features, E joint width, K names with the new one last but one ("clean" is last).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.autodir.assessor import Assessor
from models.errors import TrainingError
from models.networks.evidence_encoder import EvidenceEncoder

STEPS, RATE, DECAY = 400, 5e-4, 1e-2
REPLAY_WEIGHTS = (1.0, 4.0, 16.0)
"""Weights of the old answers, from the one that learns most to the one that forgets least."""
MAX_LOSS = 0.01
"""How much accuracy the old degradations may lose."""
CHUNK = 8


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Stored features: of damaged and undamaged crops of the pairs, and of crops with the old damage (V, F).

    `old_labels` (V,) are indices of the assessor's names; `held_old` is not trained on.
    """

    damaged: Tensor
    undamaged: Tensor
    old: Tensor
    held_old: Tensor
    held_labels: Tensor
    held_damaged: Tensor


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Accuracy of single crops, in [0, 1]: of the old degradations before and after, and of the new one."""

    old_before: float
    old_after: float
    new: float
    replay_weight: float


def encoder_of(assessor: Assessor) -> EvidenceEncoder:
    """Returns the image encoder.

    Raises:
        TrainingError: it is not one that stores evidence.
    """
    encoder = assessor.clip.get_submodule("visual")
    if not isinstance(encoder, EvidenceEncoder):
        raise TrainingError(
            "the assessor of this bundle has no evidence encoder, so few pairs cannot teach it a word. "
            "Give --bundle autodir-small, or a bundle made from it."
        )
    return encoder


@torch.no_grad()
def evidence_of(assessor: Assessor, crops: Sequence[Tensor]) -> Tensor:
    """Returns the evidence (V, F) of crops (3, S, S) in [-1, 1]."""
    parts = [torch.stack(list(crops[at : at + CHUNK])) for at in range(0, len(crops), CHUNK)]
    return torch.cat([assessor.evidence(part.clamp(-1, 1).add(1).div(2)) for part in parts])


def train_last_layers(assessor: Assessor, prompts: Tensor, evidence: Evidence, new: int, seed: int) -> Learned:
    """Train the last layers in place until the old degradations lose at most MAX_LOSS of their accuracy.

    Args:
        prompts: unit features (K, E) of the class prompts, with the new one at index `new`.
    """
    encoder = encoder_of(assessor)
    start = copy.deepcopy(encoder.state_dict())
    scale = assessor.clip.get_parameter("logit_scale").detach().exp()
    old = [index for index in range(len(prompts)) if index != new]

    def logits(features: Tensor) -> Tensor:
        return scale * F.normalize(encoder.embed(features), dim=-1) @ prompts.T

    with torch.no_grad():
        answers = {
            key: _without(logits(getattr(evidence, key))[:, old].softmax(-1), old, len(prompts))
            for key in ("undamaged", "old")
        }
        before = _accuracy(logits(evidence.held_old), evidence.held_labels, old)
    learned: Learned | None = None
    for weight in REPLAY_WEIGHTS:
        encoder.load_state_dict(start)
        _fit(encoder, logits, evidence, answers, new, weight, seed)
        with torch.no_grad():
            after = _accuracy(logits(evidence.held_old), evidence.held_labels, None)
            found = float((logits(evidence.held_damaged).argmax(-1) == new).float().mean())
        learned = Learned(old_before=before, old_after=after, new=found, replay_weight=weight)
        if after >= before - MAX_LOSS:
            break
    assert learned is not None
    return learned


def _fit(
    encoder: EvidenceEncoder, logits: Callable[[Tensor], Tensor], evidence: Evidence, answers: Mapping[str, Tensor],
    new: int, weight: float, seed: int,
) -> None:  # fmt: skip
    """Train the last two layers; the norm keeps its statistics."""
    encoder.eval()
    encoder.dropout.train()
    layers = [*encoder.hidden.parameters(), *encoder.project.parameters()]
    for parameter in layers:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(layers, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # dropout
        for _ in range(STEPS):
            damaged, undamaged, old = (
                torch.randint(len(part), (count,), generator=generator)
                for part, count in ((evidence.damaged, 24), (evidence.undamaged, 24), (evidence.old, 64))
            )
            is_new = torch.full((len(damaged),), new)
            loss = F.cross_entropy(logits(evidence.damaged[damaged]), is_new)
            loss = loss + F.cross_entropy(logits(evidence.undamaged[undamaged]), answers["undamaged"][undamaged])
            loss = loss + weight * F.cross_entropy(logits(evidence.old[old]), answers["old"][old])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    encoder.eval()
    for parameter in layers:
        parameter.requires_grad_(False)


def _without(probabilities: Tensor, old: Sequence[int], count: int) -> Tensor:
    """Returns the probabilities (V, K-1) of the old names as (V, K), with 0 for the new one."""
    whole = probabilities.new_zeros(len(probabilities), count)
    whole[:, list(old)] = probabilities
    return whole


def _accuracy(logits: Tensor, labels: Tensor, among: Sequence[int] | None) -> float:
    """Returns the share of right answers; `among` leaves only these names to choose from."""
    if among is not None:
        allowed = torch.full_like(logits, -torch.inf)
        allowed[:, list(among)] = 0
        logits = logits + allowed
    return float((logits.argmax(-1) == labels).float().mean())
