"""What NAFNet and DRUNet do alike: pixels folded into channels, and the way down through their levels and up again.

Shapes:  B batch, C channels, H W pixels.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def fold(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, C patch^2, H / patch, W / patch); 1 leaves it."""
    return F.pixel_unshuffle(x, patch) if patch > 1 else x


def unfold(x: Tensor, patch: int) -> Tensor:
    """What undoes `fold`."""
    return F.pixel_shuffle(x, patch) if patch > 1 else x


def down_and_up(
    x: Tensor, encoders: nn.ModuleList, downs: nn.ModuleList, bottom: Callable[[Tensor], Tensor], ups: nn.ModuleList,
    decoders: nn.ModuleList, levels: list[Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Each level's output is added to what comes up to its decoder: (B, C, H, W) -> the same.

    `levels` receives what comes out of every level on the way down, of the bottom, and at the end.
    """
    skips = []
    for encoder, down in zip(encoders, downs, strict=True):
        x = encoder(x)
        skips.append(x)
        x = down(x)
    x = lowest = bottom(x)
    for up, decoder, skip in zip(ups, decoders, reversed(skips), strict=True):
        x = decoder(up(x) + skip)
    if levels is not None:
        levels += [*skips, lowest, x]
    return x
