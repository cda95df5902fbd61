"""Initializes a patch embedding with whitening filters, so that it responds to fine detail as strongly as to coarse.

The power of photographs falls with the square of the frequency, so random filters mostly measure brightness.  Noise,
blur and compression show in the highest frequencies.  An hour of training does not correct this in a vision
transformer.  So the filters start as principal components of clean patches, scaled to equal power: each strong
component is one filter, and the many weak ones form groups of neighbors with random signs.

Shapes:  N patches, F = 3 P P values in a patch, C filters.
"""

import torch
from torch import Tensor, nn

SINGLE_SHARE = 1 / 3
"""Share of the filters with one component each."""
MIN_DEVIATION = 0.02
"""Smaller standard deviations (of normalized pixels) count as this one: they are of the size of 8-bit rounding."""


@torch.no_grad()
def whiten_filters(patches: nn.Conv2d, pictures: Tensor, generator: torch.Generator) -> None:
    """Set the filters (C, 3, P, P) from normalized clean pictures (B, 3, S, S), in place.

    Raises:
        ValueError: there are fewer patches than values in a patch.
    """
    size = patches.kernel_size[0]
    vectors = nn.functional.unfold(pictures, size, stride=size).transpose(1, 2).flatten(0, 1)  # (N, F)
    if len(vectors) < vectors.shape[1]:
        raise ValueError(
            f"got {len(vectors)} patches, expected at least {vectors.shape[1]}, the number of values in a patch"
        )
    vectors = vectors - vectors.mean(dim=0)
    power, components = torch.linalg.eigh(vectors.T @ vectors / len(vectors))  # ascending
    whitened = (
        components.T.flip(0) / power.flip(0).clamp_min(MIN_DEVIATION**2).sqrt()[:, None]
    )  # (F, F), the strongest first
    signs = torch.randint(0, 2, (len(whitened), 1), generator=generator).mul(2).sub(1).to(whitened)
    patches.weight.copy_(_grouped(whitened * signs, len(patches.weight)).reshape_as(patches.weight))


def _grouped(whitened: Tensor, count: int) -> Tensor:
    """(F, F) -> (C, F): the first components are single filters, the others are summed in groups at equal power."""
    if count >= len(whitened):
        return torch.cat([whitened, whitened.new_zeros(count - len(whitened), whitened.shape[1])])
    single = round(count * SINGLE_SHARE)
    groups = torch.tensor_split(whitened[single:], count - single)
    return torch.cat([whitened[:single], torch.stack([group.sum(dim=0) / len(group) ** 0.5 for group in groups])])
