"""Tiles: overlapping rectangles of an image, and the canvas that blends them back together.

Shapes:  H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image; `index` of `count` in reading order."""

    top: int
    left: int
    height: int
    width: int
    index: int
    count: int

    def cut(self, image: Tensor) -> Tensor:
        """A view of (..., H, W)."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Evenly spread starts of equal tiles that cover `length` with at least `overlap` between neighbors."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tiles(height: int, width: int, side: int, overlap: int) -> list[Tile]:
    """Tiles of at most `side` px that cover the image; one when it fits.  All have one shape and can share a batch."""
    if not 0 <= overlap < side:
        raise ValueError(f"got overlap {overlap}, expected 0 to {side - 1}")
    corners = [(top, left) for top in _starts(height, side, overlap) for left in _starts(width, side, overlap)]
    return [
        Tile(top, left, min(side, height), min(side, width), index, len(corners))
        for index, (top, left) in enumerate(corners)
    ]


def feather(length: int, start: int, whole: int, overlap: int) -> Tensor:
    """Weights (length,) in (0, 1] that ramp linearly over `overlap` px, except at the image's own edge."""
    weights, place = torch.ones(length), torch.arange(1, length + 1) / (overlap + 1)
    if start > 0:
        weights = torch.minimum(weights, place)
    if start + length < whole:
        weights = torch.minimum(weights, place.flip(0))
    return weights


class Canvas:
    """Gathers the tiles of one image and blends them by feathered weights, in host memory."""

    def __init__(self, height: int, width: int, overlap: int) -> None:
        self._overlap = overlap
        self._sum = torch.zeros(3, height, width)
        self._weight = torch.zeros(height, width)

    def add(self, tile: Tile, pixels: Tensor) -> None:
        """`pixels` (3, tile.height, tile.width)."""
        height, width = self._weight.shape
        weight = torch.outer(
            feather(tile.height, tile.top, height, self._overlap), feather(tile.width, tile.left, width, self._overlap)
        )
        tile.cut(self._sum).add_(pixels.float().cpu() * weight)
        tile.cut(self._weight).add_(weight)

    def image(self) -> Tensor:
        """(3, H, W); every pixel must have been covered.  The canvas is used up: its memory becomes the image."""
        return self._sum.div_(self._weight)
