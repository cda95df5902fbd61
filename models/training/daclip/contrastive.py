"""DA-CLIP's training loss: two contrastive terms with one temperature (Luo et al. 2024, arXiv:2310.01018, Eq. 4).

    L = InfoNCE(content embedding, caption) + InfoNCE(degradation embedding, degradation word)

The robust variant (arXiv:2404.09732) adds |content embedding of the degraded picture - that of the clean picture by the
frozen CLIP|.  As published, pictures with the same degradation in a batch count as negatives of each other, so the
second term cannot fall below about ln(batch / kinds).

Shapes:  B pictures, D joint width.  Features are (B, D) of unit length.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_LOG_SCALE = math.log(100)
"""The logarithm of the temperature stays in [0, ln 100]."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a batch: pictures (content, degradation) and texts (caption, word), all (B, D)."""

    content: Tensor
    caption: Tensor
    degradation: Tensor
    word: Tensor


@dataclass(frozen=True)
class LossTerms:
    """The terms of a loss, all scalars; `fidelity` is 0 without the robust term."""

    content: Tensor
    degradation: Tensor
    fidelity: Tensor

    @property
    def total(self) -> Tensor:
        return self.content + self.degradation + self.fidelity


def info_nce(first: Tensor, second: Tensor, logit_scale: Tensor) -> Tensor:
    """Returns the mean cross-entropy of both directions; row i of one belongs to row i of the other."""
    with torch.autocast(first.device.type, enabled=False):  # logits reach 100, where bfloat16 has steps of 0.5
        logits = logit_scale.exp() * first.float() @ second.float().T  # (B, B)
    own = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def contrastive_terms(
    embeddings: Embeddings, logit_scale: Tensor, clean: Tensor | None = None, weight: float = 1.0
) -> LossTerms:
    """Returns both contrastive terms, and the robust term if `clean` is given.

    Args:
        clean: content embeddings (B, D) of the clean pictures.
        weight: weight of the robust term, which the paper does not state; the distance is the mean over all elements.
    """
    fidelity = embeddings.content.new_zeros(()) if clean is None else weight * F.l1_loss(embeddings.content, clean)
    return LossTerms(
        content=info_nce(embeddings.content, embeddings.caption, logit_scale),
        degradation=info_nce(embeddings.degradation, embeddings.word, logit_scale),
        fidelity=fidelity,
    )


@torch.no_grad()
def clamp_temperature(logit_scale: Tensor) -> None:
    """Clamp to [0, ln 100] in place, as the published program does after each step."""
    logit_scale.clamp_(0, MAX_LOG_SCALE)
