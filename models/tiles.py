"""Tiles: overlapping rectangles of an image, and the canvas that blends them into one image again.

Shapes:  H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image; number `index` of `count`, in reading order."""

    top: int
    left: int
    height: int
    width: int
    index: int
    count: int

    def crop(self, image: Tensor) -> Tensor:
        """Returns a view of the rectangle of (..., H, W)."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def tile_grid(height: int, width: int, tile_px: int, overlap_px: int) -> list[Tile]:
    """Returns the tiles that cover an image; one tile if the image fits.

    All tiles have the same shape, at most `tile_px` a side, so that they can share a batch.
    """
    if not 0 <= overlap_px < tile_px:
        raise ValueError(f"got an overlap of {overlap_px} px, expected 0 to {tile_px - 1}")
    corners = [
        (top, left) for top in _starts(height, tile_px, overlap_px) for left in _starts(width, tile_px, overlap_px)
    ]
    return [
        Tile(top, left, min(tile_px, height), min(tile_px, width), index, len(corners))
        for index, (top, left) in enumerate(corners)
    ]


def _starts(length: int, tile_px: int, overlap_px: int) -> list[int]:
    """Returns evenly spaced start positions of equal tiles that cover `length` with at least this overlap."""
    if length <= tile_px:
        return [0]
    count = -(-(length - overlap_px) // (tile_px - overlap_px))
    return [round(i * (length - tile_px) / (count - 1)) for i in range(count)]


def feather_weights(length: int, start: int, image_length: int, overlap_px: int) -> Tensor:
    """Returns weights (length,) in (0, 1] that ramp linearly over the overlap, except at the image's own border."""
    weights, ramp = torch.ones(length), torch.arange(1, length + 1) / (overlap_px + 1)
    if start > 0:
        weights = torch.minimum(weights, ramp)
    if start + length < image_length:
        weights = torch.minimum(weights, ramp.flip(0))
    return weights


class Canvas:
    """Collects the tiles of one image and blends them with feathered weights, in host memory."""

    def __init__(self, height: int, width: int, overlap_px: int) -> None:
        self._overlap_px = overlap_px
        self._sum = torch.zeros(3, height, width)
        self._weight = torch.zeros(height, width)

    def add(self, tile: Tile, pixels: Tensor) -> None:
        """Add the pixels (3, tile.height, tile.width) of a tile."""
        height, width = self._weight.shape
        weight = torch.outer(
            feather_weights(tile.height, tile.top, height, self._overlap_px),
            feather_weights(tile.width, tile.left, width, self._overlap_px),
        )
        tile.crop(self._sum).add_(pixels.float().cpu() * weight)
        tile.crop(self._weight).add_(weight)

    def image(self) -> Tensor:
        """Returns (3, H, W) after every tile was added.  Call it once: the image reuses the canvas's memory."""
        return self._sum.div_(self._weight)
