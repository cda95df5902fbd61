"""Tiles: overlapping rectangles of an image, and the canvas that blends them into one image again.

Shapes:  H W pixels.  Images are RGB (3, H, W), see models.pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from models.device import to_device
from models.optional import not_none
from models.pixels import floats


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

    def floats(self, image: Tensor, device: torch.device) -> Tensor:
        """Returns the rectangle of an image as float32 in [-1, 1] on a device; a view where nothing must change."""
        part = self.crop(image)
        # Integers travel as they are: a quarter of the bytes
        return floats(to_device(part, device))


def tile_grid(height: int, width: int, area_px: int, overlap_px: int, multiple: int = 1) -> list[Tile]:
    """Returns the tiles that cover an image with the fewest computed pixels; one tile if the image fits.

    All tiles have one shape, so that they can share a batch.  A side that is cut is a multiple of `multiple`, the
    network's stride; one that is not cut counts as padded to it.  Neighbors overlap by at least `overlap_px`.

    Args:
        area_px: the most pixels of a tile; at least those of the smallest tile that is wider than the overlap.

    Raises:
        ValueError: the overlap is negative.
    """
    if overlap_px < 0:
        raise ValueError(f"got an overlap of {overlap_px} px, expected 0 or more")
    if height * width <= area_px:
        return [Tile(0, 0, height, width, 0, 1)]
    rows, columns = _cheapest_grid(height, width, area_px, overlap_px, multiple)
    return _grid(height, width, rows, columns)


def even_grid(height: int, width: int, shape: tuple[int, int], overlap_px: int) -> list[Tile]:
    """Returns the fewest tiles of a shape that cover an image, evenly spread; a side that fits is not cut."""
    rows, columns = (
        _Cuts(1, side, side) if side <= part else _Cuts(-(-(side - overlap_px) // (part - overlap_px)), part, part)
        for side, part in zip((height, width), shape, strict=True)
    )
    return _grid(height, width, rows, columns)


def _grid(height: int, width: int, rows: "_Cuts", columns: "_Cuts") -> list[Tile]:
    corners = [(top, left) for top in _starts(height, rows) for left in _starts(width, columns)]
    return [
        Tile(top, left, rows.length, columns.length, index, len(corners)) for index, (top, left) in enumerate(corners)
    ]


@dataclass(frozen=True)
class _Cuts:
    """A side cut into `count` equal, overlapping parts of `length` pixels; `padded`: up to the network's multiple."""

    count: int
    length: int
    padded: int


def _cheapest_grid(height: int, width: int, area_px: int, overlap_px: int, multiple: int) -> tuple[_Cuts, _Cuts]:
    """Returns rows and columns with the fewest computed pixels; among equals, the fewest and then squarest tiles.

    More parts of a side never compute fewer pixels than the side and its overlaps have, which bounds the search.
    """
    smallest = _up(overlap_px + 1, multiple)
    cost, grid = None, None
    for rows in _cuts(height, overlap_px, multiple, 1):
        if cost is not None and (height + overlap_px * (rows.count - 1)) * width > cost[0]:
            break
        widest = area_px // rows.padded // multiple * multiple
        if widest < min(smallest, width):  # no column is so narrow
            if rows.length > smallest:
                continue
            widest = smallest
        fewest = 1 if width <= widest else -(-(width - overlap_px) // (widest - overlap_px))
        for columns in _cuts(width, overlap_px, multiple, fewest):
            least = rows.count * rows.padded * (width + overlap_px * (columns.count - 1))
            if cost is not None and least > cost[0]:
                break
            tiles = rows.count * columns.count
            found = tiles * rows.padded * columns.padded, tiles, abs(rows.length - columns.length)
            if cost is None or found < cost:
                cost, grid = found, (rows, columns)
    assert grid is not None, "the smallest rows always have columns"
    return grid


def _cuts(length: int, overlap_px: int, multiple: int, fewest: int) -> Iterator[_Cuts]:
    """Yield the ways to cut a side into `fewest` parts and more, down to the smallest part."""
    smallest = _up(overlap_px + 1, multiple)
    for parts in count(fewest):
        part = _up(-(-(length + overlap_px * (parts - 1)) // parts), multiple)
        if parts == 1:
            yield _Cuts(1, length, _up(length, multiple))
        elif part < length:
            yield _Cuts(parts, part, part)
        if part <= smallest:
            return


def _up(length: int, multiple: int) -> int:
    return length + -length % multiple


def _starts(length: int, cuts: _Cuts) -> list[int]:
    """Returns evenly spaced start positions."""
    if cuts.count == 1:
        return [0]
    return [round(i * (length - cuts.length) / (cuts.count - 1)) for i in range(cuts.count)]


def feather_weights(length: int, start: int, image_length: int, overlap_px: int) -> Tensor:
    """Returns weights (length,) in (0, 1] that ramp linearly over the overlap, except at the image's own border."""
    weights, ramp = torch.ones(length), torch.arange(1, length + 1) / (overlap_px + 1)
    if start > 0:
        weights = torch.minimum(weights, ramp)
    if start + length < image_length:
        weights = torch.minimum(weights, ramp.flip(0))
    return weights


class Canvas:
    """Collects the tiles of one image and blends them with feathered weights, on the device that holds the image.

    A single tile is kept as it is.
    """

    def __init__(self, height: int, width: int, overlap_px: int, device: torch.device | None = None) -> None:
        self._size, self._overlap_px, self._device = (height, width), overlap_px, device or torch.device("cpu")
        self._sum: Tensor | None = None
        self._weight: Tensor | None = None

    def add(self, tile: Tile, pixels: Tensor) -> None:
        """Add the pixels (3, tile.height, tile.width) of a tile."""
        pixels = pixels.float().to(self._device)
        if tile.count == 1:
            self._sum = pixels.contiguous()
            return
        height, width = self._size
        if self._sum is None or self._weight is None:
            self._sum = torch.zeros(3, height, width, device=self._device)
            self._weight = torch.zeros(height, width, device=self._device)
        weight = torch.outer(
            to_device(feather_weights(tile.height, tile.top, height, self._overlap_px), self._device),
            to_device(feather_weights(tile.width, tile.left, width, self._overlap_px), self._device),
        )
        tile.crop(self._sum).add_(pixels * weight)
        tile.crop(self._weight).add_(weight)

    def image(self) -> Tensor:
        """Returns (3, H, W) after every tile was added.  Call it once: the image takes the canvas's memory."""
        image, weight = not_none(self._sum), self._weight
        self._sum = self._weight = None
        return image if weight is None else image.div_(weight)
