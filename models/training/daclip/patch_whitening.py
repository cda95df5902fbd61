"""A patch embedding that begins by seeing fine detail as clearly as coarse.

The power of photographs falls with the square of the frequency, so random filters see little but brightness, while
noise, blur and compression show in the finest frequencies.  A vision transformer trained for an hour does not get
over that by itself.  The filters begin as principal components of clean patches, scaled to equal power: the strongest
each by itself, the many weak ones in groups of neighbors with random signs.

Shapes:  N patches, F = 3 P P numbers of a patch, C filters.
"""

import torch
from torch import Tensor, nn

ALONE = 1 / 3
"""The share of the filters that see one component each."""
LEAST = 0.02
"""No component is scaled up from below this deviation (of normalized pixels): that is where 8-bit rounding lies."""


@torch.no_grad()
def whiten(patches: nn.Conv2d, pictures: Tensor, generator: torch.Generator) -> None:
    """Set the filters (C, 3, P, P) from normalized clean pictures (B, 3, S, S), in place.

    Raises:
        ValueError: there are fewer patches than numbers in a patch.
    """
    size = patches.kernel_size[0]
    seen = nn.functional.unfold(pictures, size, stride=size).transpose(1, 2).flatten(0, 1)  # (N, F)
    if len(seen) < seen.shape[1]:
        raise ValueError(f"got {len(seen)} patches, expected at least {seen.shape[1]}, the numbers of a patch")
    seen = seen - seen.mean(dim=0)
    power, components = torch.linalg.eigh(seen.T @ seen / len(seen))  # ascending
    whitened = components.T.flip(0) / power.flip(0).clamp_min(LEAST**2).sqrt()[:, None]  # (F, F), the strongest first
    signs = torch.randint(0, 2, (len(whitened), 1), generator=generator).mul(2).sub(1).to(whitened)
    patches.weight.copy_(_grouped(whitened * signs, len(patches.weight)).reshape_as(patches.weight))


def _grouped(whitened: Tensor, count: int) -> Tensor:
    """(F, F) -> (C, F): the first ones alone, the others as sums of neighbors at the same power."""
    if count >= len(whitened):
        return torch.cat([whitened, whitened.new_zeros(count - len(whitened), whitened.shape[1])])
    alone = round(count * ALONE)
    groups = torch.tensor_split(whitened[alone:], count - alone)
    return torch.cat([whitened[:alone], torch.stack([group.sum(dim=0) / len(group) ** 0.5 for group in groups])])
