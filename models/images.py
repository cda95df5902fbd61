"""Pixels and tensors: conversion, padding that is cropped back, and tiles with feathered overlap.

Shapes:  H W pixels, C channels.  Pixels are RGB (H, W, 3), uint8 or uint16; tensors are (3, H, W) float32 in [-1, 1].
Orientation, colour profiles and alpha are the business of models/photo.py, where files are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def to_tensor(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 or uint16 -> (3, H, W) float32 in [-1, 1]: x / 127.5 - 1, and the same for 16 bits."""
    top = float(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).mul_(2 / top).sub_(1).contiguous()


def to_pixels(image: Tensor, dtype: type[np.uint8] | type[np.uint16] = np.uint8, *, truncate: bool = False) -> Pixels:
    """(3, H, W) in [-1, 1] -> (H, W, 3), clamped and rounded; `truncate` drops fractions, as AutoDIR does."""
    top = float(np.iinfo(dtype).max)
    scaled = image.detach().float().cpu().add(1).div_(2).clamp_(0, 1).mul_(top)
    whole = scaled.floor_() if truncate else scaled.round_()
    return np.ascontiguousarray(whole.permute(1, 2, 0).numpy().astype(dtype))


def pad_to_multiple(x: Tensor, multiple: int, mode: str = "constant") -> Tensor:
    """(..., H, W) padded at the right and the bottom; "reflect" falls back to "replicate" where a side is too short."""
    height, width = x.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not down and not right:
        return x
    if mode == "reflect" and (down >= height or right >= width):
        mode = "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


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
    """Evenly spread starts of equal tiles that cover `length` with at least `overlap` between neighbours."""
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


BLACK = -0.97
"""A value below 4 of 255."""


def blackened(before: Tensor, after: Tensor) -> float:
    """The share of pixels, 0 to 1, with a channel that was not black and now is; (3, H, W) in [-1, 1] each."""
    return float(((before >= BLACK) & (after < BLACK)).any(dim=0).float().mean())


def views(image: Tensor, side: int, most: int) -> Iterator[Tensor]:
    """Up to `most` native-scale crops (3, side, side) spread evenly over the whole image.

    Short sides are padded by reflection, which keeps the statistics of noise and blur; black bars would look like
    damage.
    """
    padded = pad_to_multiple(image, 1) if min(image.shape[-2:]) >= side else _grow(image, side)
    height, width = padded.shape[-2:]
    rows, columns = _grid(height / side, width / side, most)
    for row in range(rows):
        for column in range(columns):
            top = (
                round((height - side) * (row + 0.5) / rows) if rows == 1 else round((height - side) * row / (rows - 1))
            )
            left = (
                round((width - side) * (column + 0.5) / columns)
                if columns == 1
                else round((width - side) * column / (columns - 1))
            )
            yield padded[:, top : top + side, left : left + side]


def overview(image: Tensor, side: int) -> Iterator[Tensor]:
    """The image as a whole: shrunk by area until its shorter side is `side`, in one or two crops (3, side, side).

    Nothing for images that are hardly larger than a crop: their native-scale views already show it.
    """
    height, width = image.shape[-2:]
    scale = side / min(height, width)
    if scale > 2 / 3:
        return
    shrunk = F.interpolate(image[None], (round(height * scale), round(width * scale)), mode="area")[0]
    yield from views(shrunk, side, 2)


def looks(image: Tensor, side: int, most: int, far: float) -> tuple[list[Tensor], list[float]]:
    """Native-scale views and the shrunk whole, (3, side, side) each, and their shares of an answer, which sum to 1.

    `far` is the share of the whole, which is left out where the views already show it.
    """
    near, whole = list(views(image, side, most)), list(overview(image, side)) if far else []
    share = far if whole else 0.0
    weights = [(1 - share) / len(near)] * len(near) + [share / max(len(whole), 1)] * len(whole)
    return near + whole, weights


def _grid(height: float, width: float, most: int) -> tuple[int, int]:
    """Rows and columns, at most `most` together, that cover an image of so many crop sides about evenly."""
    rows, columns = max(1, round(height + 0.2)), max(1, round(width + 0.2))
    while rows * columns > most:
        if rows >= columns:
            rows -= 1
        else:
            columns -= 1
    return rows, columns


def _grow(image: Tensor, side: int) -> Tensor:
    """Mirror an image until both sides are at least `side`."""
    while min(image.shape[-2:]) < side:
        height, width = image.shape[-2:]
        down, right = min(max(side - height, 0), height - 1), min(max(side - width, 0), width - 1)
        if (side > height and height == 1) or (side > width and width == 1):
            return F.pad(image[None], (0, max(side - width, 0), 0, max(side - height, 0)), mode="replicate")[0]
        image = F.pad(image[None], (0, right, 0, down), mode="reflect")[0]
    return image


def match_colours(picture: Tensor, like: Tensor) -> Tensor:
    """Each channel with the mean and the deviation of `like`'s (AdaIN, unbiased variance + 1e-5): 2 x (3, H, W)."""
    (mean, deviation), (wanted_mean, wanted_deviation) = _moments(picture), _moments(like)
    return (picture - mean) / deviation * wanted_deviation + wanted_mean


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    return image.mean((-2, -1), keepdim=True), (image.var((-2, -1), keepdim=True) + 1e-5).sqrt()
