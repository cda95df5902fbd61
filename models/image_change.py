"""Measures how much a restoration changed an image, where the pixels are.

Shapes:  H W pixels.  Images are RGB (3, H, W), see models.pixels.
"""

import torch
from torch import Tensor

from models.pixels import floats
from models.restoration_report import Change

UNCHANGED = Change(mean_levels=0.0, max_levels=0.0, share=0.0)
HALF_LEVEL = 0.5 / 127.5
"""A change of half a level gives another integer when it is rounded."""


def change_between(before: Tensor, after: Tensor, share: float = 1.0) -> Change:
    """Returns how much `before` + `share` (`after` - `before`) differs from `before`."""
    if after is before or share == 0:
        return UNCHANGED
    largest, sums = [], []
    changed = torch.zeros(after.shape[-2:], dtype=torch.bool, device=after.device)
    # One channel at a time: the difference of a large photo would need as much memory as the photo
    for old, new in zip(before, after, strict=True):
        difference = (floats(new) - floats(old).to(new.device)).abs_()
        largest.append(difference.max())
        sums.append(difference.mean(dim=-1).mean())  # row by row: a sum of millions of floats would be inexact
        changed |= difference >= HALF_LEVEL / share
    figures = torch.stack([torch.stack(largest).max(), torch.stack(sums).mean(), changed.float().mean()])
    maximum, mean, pixels = figures.tolist()
    return Change(mean_levels=mean * 127.5 * share, max_levels=maximum * 127.5 * share, share=pixels)
