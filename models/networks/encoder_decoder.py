"""Parts that NAFNet and DRUNet share: pixels folded into channels, and the path down through the levels and up again.

Shapes:  B batch, C channels, H W pixels.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def fold(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, C patch^2, H / patch, W / patch); a patch of 1 changes nothing."""
    return F.pixel_unshuffle(x, patch) if patch > 1 else x


def unfold(x: Tensor, patch: int) -> Tensor:
    """Undoes `fold`."""
    return F.pixel_shuffle(x, patch) if patch > 1 else x


def down_and_up(
    x: Tensor, encoders: nn.ModuleList, downs: nn.ModuleList, bottom: Callable[[Tensor], Tensor], ups: nn.ModuleList,
    decoders: nn.ModuleList, levels: list[Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Runs the encoders, the bottom and the decoders, with skips that are added: (B, C, H, W) -> (B, C, H, W).

    `levels` receives the output of every level on the way down, of the bottom, and of the last decoder.
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
