"""DA-CLIP's training loss: two contrastive terms under one temperature (Luo et al. 2024, arXiv:2310.01018, Eq. 4).

    L = InfoNCE(content embedding, caption) + InfoNCE(degradation embedding, degradation word)

The robust variant (arXiv:2404.09732) adds |content embedding of the bad picture - the frozen CLIP's of the good one|.
Pictures of one kind in a batch count as each other's negatives, as published, so the second term cannot fall below
about ln(batch / kinds).

Shapes:  B pictures, D joint width.  Features are (B, D) of unit length.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MOST = math.log(100)
"""The temperature's logarithm is kept in [0, ln 100]."""


@dataclass(frozen=True)
class Embedded:
    """What the controlled CLIP says of a batch: pictures and texts, each in both roles; all (B, D)."""

    content: Tensor
    caption: Tensor
    degradation: Tensor
    word: Tensor


@dataclass(frozen=True)
class Terms:
    """The parts of a loss, each a number; `fidelity` is 0 without the robust term."""

    content: Tensor
    degradation: Tensor
    fidelity: Tensor

    @property
    def total(self) -> Tensor:
        return self.content + self.degradation + self.fidelity


def info_nce(first: Tensor, second: Tensor, logit_scale: Tensor) -> Tensor:
    """The mean of both directions' cross-entropies; row i of one belongs to row i of the other."""
    with torch.autocast(first.device.type, enabled=False):  # logits reach 100, of which bfloat16 keeps half a unit
        logits = logit_scale.exp() * first.float() @ second.float().T  # (B, B)
    own = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def contrastive_terms(said: Embedded, logit_scale: Tensor, clean: Tensor | None = None, weight: float = 1.0) -> Terms:
    """Both terms; with `clean`, the good pictures' embeddings (B, D), the robust one too.

    `weight` is the robust term's, which the paper leaves open; its distance is the mean over all numbers.
    """
    fidelity = said.content.new_zeros(()) if clean is None else weight * F.l1_loss(said.content, clean)
    return Terms(
        content=info_nce(said.content, said.caption, logit_scale),
        degradation=info_nce(said.degradation, said.word, logit_scale),
        fidelity=fidelity,
    )


@torch.no_grad()
def clamp_temperature(logit_scale: Tensor) -> None:
    """Back into [0, ln 100], as after each published step."""
    logit_scale.clamp_(0, MOST)
