"""Measures how a repair moved brightness, color and contrast, apart from details.

Everything is measured on means of blocks: noise and edges vanish there, and what remains is what a repair of them must
leave as it was.

Shapes:  H W pixels, h w blocks.  Images are RGB (3, H, W), see models.pixels.  Levels are those of 8 bits, 0 to 255.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixels import floats

BLOCKS = 16
"""The shorter side has about so many blocks; a block has at least 4 px."""
EXTREME = 0.98
"""Quantile over the blocks: a few may move farther, where an object was hidden."""
BLACK, NOT_BLACK = 16.0, 40.0
WHITE, NOT_WHITE = 240.0, 216.0


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How an image differs from another in what is coarse.

    Attributes:
        darker: levels that blocks lost.
        brighter: levels that blocks gained.
        blackened: share of blocks that were not dark and became black.
        whitened: share of blocks that were not bright and became white.
        grayer: share of the mean saturation that was lost; negative where it was gained.
        flatter: share of the contrast (standard deviation) that was lost, likewise.
    """

    darker: float
    brighter: float
    blackened: float
    whitened: float
    grayer: float
    flatter: float


def movement(before: Tensor, after: Tensor) -> Movement:
    """Returns how `after` differs from `before`; both (3, H, W) and of one size."""
    old, new = blocks(before), blocks(after)
    luma_old, luma_new = luma(old), luma(new)
    moved = luma_new - luma_old
    at = torch.tensor([1 - EXTREME, EXTREME], device=moved.device)
    down, up = torch.quantile(moved.flatten(), at).tolist()
    black = (luma_new < BLACK) & (luma_old >= NOT_BLACK)
    white = (new.amin(0) > WHITE) & (old.amin(0) < NOT_WHITE)
    return Movement(
        darker=max(0.0, -down), brighter=max(0.0, up), blackened=float(black.float().mean()),
        whitened=float(white.float().mean()), grayer=_lost(_saturation(old), _saturation(new), 8.0),
        flatter=_lost(_contrast(luma_old), _contrast(luma_new), 4.0),
    )  # fmt: skip


def blocks(image: Tensor) -> Tensor:
    """Returns the means of blocks in levels, (3, h, w) float32."""
    side = max(4, min(image.shape[-2:]) // BLOCKS)
    side = min(side, *image.shape[-2:])
    # One channel at a time: the floats of a large photo would take four times its memory
    means = torch.cat([F.avg_pool2d(floats(channel)[None, None].float(), side)[0] for channel in image])
    return means.add_(1).mul_(127.5).clamp_(0, 255)


def luma(levels: Tensor) -> Tensor:
    """(3, h, w) -> (h, w): BT.601's weights."""
    return levels[0] * 0.299 + levels[1] * 0.587 + levels[2] * 0.114


def _saturation(levels: Tensor) -> float:
    return float((levels.amax(0) - levels.amin(0)).mean())


def _contrast(levels: Tensor) -> float:
    return float(levels.std(correction=0))


def _lost(before: float, after: float, least: float) -> float:
    """Returns the lost share of a quantity; 0 where there is less than `least` of it to lose."""
    return (before - after) / before if before >= least else 0.0
