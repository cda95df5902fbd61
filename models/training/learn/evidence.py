"""The assessor's last layers learn a new degradation from stored evidence, without unlearning the old ones.

The hidden layer gets a few more units.  They move the features of a picture along one direction only: the part of the
new prompt that is orthogonal to all old ones.  So the order of the old degradations never changes, and a picture with
old damage can be lost to the new word alone.

The features of a picture (models.networks.evidence_encoder) do not change while the last layers are trained, so each
picture is computed once.  Three kinds of pictures take part in each step:

    damaged photos of the pairs               the answer is the new degradation
    undamaged photos of the pairs             the answer is that of the assessor before: the content must not decide
    photos with synthetic damage (replay)     likewise (learning without forgetting, Li & Hoiem 2016, arXiv:1606.09282)

Shapes:  V views, F features, E joint width, K names with the new one last but one ("clean" is last).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.autodir.assessor import Assessor
from models.errors import TrainingError
from models.networks.evidence_encoder import EvidenceEncoder

STEPS, RATE, DECAY, DROPOUT = 250, 1e-3, 1e-2, 0.3
UNITS = 32
"""How many units the hidden layer gets."""
OLD_BATCH = 400
"""Old views in a step.  With 64, the same loss of old answers left 23 % of the new ones right, and not 82 %."""
REPLAY_WEIGHTS = (1.0, 6.0, 24.0)
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
    """Add units to the last layers and train them, until the old degradations lose at most MAX_LOSS of their accuracy.

    The encoder is changed in place, and its hidden layer is UNITS wider.

    Args:
        prompts: unit features (K, E) of the class prompts, with the new one at index `new`.
    """
    encoder = encoder_of(assessor)
    scale = assessor.clip.get_parameter("logit_scale").detach().exp()
    old = [index for index in range(len(prompts)) if index != new]
    direction = _apart_from(prompts[old], prompts[new])
    parts = ("damaged", "undamaged", "old", "held_old", "held_damaged")
    with torch.no_grad():
        normed = {key: encoder.eval().norm(getattr(evidence, key)) for key in parts}
        before = {key: encoder.embed(getattr(evidence, key)) for key in parts}

    def logits(units: Units, key: str, rows: Tensor | slice = slice(None)) -> Tensor:
        features = before[key][rows] + units(normed[key][rows])[:, None] * direction
        return scale * F.normalize(features, dim=-1) @ prompts.T

    with torch.no_grad():
        idle = Units(normed["old"].shape[1])
        answers = {
            key: _without(logits(idle, key)[:, old].softmax(-1), old, len(prompts)) for key in ("undamaged", "old")
        }
        right = _accuracy(logits(idle, "held_old"), evidence.held_labels, old)
    for weight in REPLAY_WEIGHTS:
        units = _trained(logits, answers, normed, new, weight, seed)
        with torch.no_grad():
            after = _accuracy(logits(units, "held_old"), evidence.held_labels, None)
            found = float((logits(units, "held_damaged").argmax(-1) == new).float().mean())
        learned = Learned(old_before=right, old_after=after, new=found, replay_weight=weight)
        if after >= right - MAX_LOSS:
            break
    _widen(encoder, units, direction)
    return learned


class Units(nn.Module):
    """A small network on normed evidence, (V, F) -> (V,); idle (0) at the start."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden, self.project, self.dropout = nn.Linear(features, UNITS), nn.Linear(UNITS, 1), nn.Dropout(DROPOUT)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.eval()

    def forward(self, normed: Tensor) -> Tensor:
        return self.project(self.dropout(F.gelu(self.hidden(self.dropout(normed)))))[:, 0]  # type: ignore[no-any-return]


def _trained(
    logits: Callable[[Units, str, Tensor], Tensor], answers: Mapping[str, Tensor], normed: Mapping[str, Tensor],
    new: int, weight: float, seed: int,
) -> Units:  # fmt: skip
    """Returns trained units."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # initial weights and dropout
        units = Units(normed["old"].shape[1]).train()
        optimizer = torch.optim.AdamW(units.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            damaged, undamaged, old = (
                torch.randint(len(normed[key]), (count,), generator=generator)
                for key, count in (("damaged", 24), ("undamaged", 24), ("old", OLD_BATCH))
            )
            loss = F.cross_entropy(logits(units, "damaged", damaged), torch.full((len(damaged),), new))
            loss = loss + F.cross_entropy(logits(units, "undamaged", undamaged), answers["undamaged"][undamaged])
            loss = loss + weight * F.cross_entropy(logits(units, "old", old), answers["old"][old])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return units.eval().requires_grad_(False)


def _apart_from(old: Tensor, new: Tensor) -> Tensor:
    """Returns the unit vector (E,) of what the new prompt does not share with the old ones (K-1, E)."""
    shared = old.T @ torch.linalg.lstsq(old.T, new[:, None]).solution
    return F.normalize(new - shared[:, 0], dim=0)


@torch.no_grad()
def _widen(encoder: EvidenceEncoder, units: Units, direction: Tensor) -> None:
    """Join the units to the last two layers, which then compute both sums at once."""
    hidden, project = encoder.hidden, encoder.project
    wider = nn.Linear(hidden.in_features, hidden.out_features + UNITS)
    wider.weight.copy_(torch.cat([hidden.weight, units.hidden.weight]))
    wider.bias.copy_(torch.cat([hidden.bias, units.hidden.bias]))
    joined = nn.Linear(wider.out_features, project.out_features)
    joined.weight.copy_(torch.cat([project.weight, direction[:, None] * units.project.weight], dim=1))
    joined.bias.copy_(project.bias + direction * units.project.bias)
    encoder.hidden, encoder.project = (layer.eval().requires_grad_(False) for layer in (wider, joined))


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
