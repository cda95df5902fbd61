"""Keeps gray pictures gray: black-and-white photographs, scans and pages get no color from a repair.

The mean of the three channels of the repair is the gray: the networks answer alike in all three, up to their error,
which the mean reduces (docs/decisions/0049).

Shapes:  H W pixels.  Images are RGB (3, H, W), see models.pixels.
"""

import torch
from torch import Tensor

from models.pixels import STRIP_PX, floats

ALIKE = 1.25 / 127.5
"""Channels that differ by at most one level of 8 bits are gray: profiles and JPEG round them apart."""
FAINT = -0.5
"""In a picture that is nowhere brighter (64 of 255), one level may be all the color that there is."""


def is_gray(image: Tensor) -> bool:
    """Returns whether an image has no color: its channels differ nowhere by more than a level."""
    rows = max(1, STRIP_PX // image.shape[-1])
    largest, brightest = torch.zeros((), device=image.device), torch.full((), -1.0, device=image.device)
    for strip in torch.split(image, rows, dim=-2):
        levels = floats(strip)
        largest = torch.maximum(largest, (levels.amax(0) - levels.amin(0)).amax())
        brightest = torch.maximum(brightest, levels.amax())
        if float(largest) > ALIKE:
            return False
    return float(largest) == 0 or float(brightest) > FAINT


def gray_like(before: Tensor, after: Tensor) -> Tensor:
    """Returns `after`, (3, H, W) float32, without color where `before` has none."""
    if after is before or not is_gray(before):
        return after
    return after.mean(dim=0, keepdim=True).expand(3, -1, -1).contiguous()
