"""Views: the square crops of an image that an assessor classifies.

Shapes:  H W pixels.  Images are RGB (3, H, W), see models.pixels; views are float32 in [-1, 1], where the image lies.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixels import floats

T = TypeVar("T")


ASSESSED_TOGETHER = 8
"""The most images that an assessor looks at in one call.

They are up to 88 views: enough to fill a device, and with the largest encoder (ViT-L/14) below a gigabyte."""


def in_parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield the items in parts of at most `most`."""
    for start in range(0, len(items), most):
        yield items[start : start + most]


def native_views(image: Tensor, side_px: int, max_views: int) -> Iterator[Tensor]:
    """Yield up to `max_views` crops (3, side_px, side_px) at native scale, spread evenly over the image.

    Short sides are padded by reflection, which keeps the statistics of noise and blur; an assessor would
    take black bars for damage.
    """
    padded = image if min(image.shape[-2:]) >= side_px else _reflect_to(floats(image), side_px)
    height, width = padded.shape[-2:]
    rows, columns = _grid(height / side_px, width / side_px, max_views)
    for top in _positions(height - side_px, rows):
        for left in _positions(width - side_px, columns):
            yield floats(padded[:, top : top + side_px, left : left + side_px])


def overview(image: Tensor, side_px: int) -> Iterator[Tensor]:
    """Yield the whole image, its shorter side area-averaged to `side_px`, as one or two crops (3, side_px, side_px).

    Yields nothing if the image is less than 1.5 times as large as a crop: its native views already show it.
    """
    height, width = image.shape[-2:]
    scale = side_px / min(height, width)
    if scale > 2 / 3:
        return
    size = round(height * scale), round(width * scale)
    # One channel at a time: the floats of a large photo would take four times its memory
    small = torch.cat([F.interpolate(floats(channel)[None, None], size, mode="area")[0] for channel in image])
    yield from native_views(small, side_px, 2)


def weighted_views(
    image: Tensor, side_px: int, max_views: int, overview_share: float
) -> tuple[list[Tensor], list[float]]:
    """Returns native views and the overview, (3, side_px, side_px) each, and their weights, which sum to 1.

    The overview's crops together weigh `overview_share`; without an overview the native views weigh 1.
    """
    native = list(native_views(image, side_px, max_views))
    whole = list(overview(image, side_px)) if overview_share else []
    share = overview_share if whole else 0.0
    weights = [(1 - share) / len(native)] * len(native) + [share / max(len(whole), 1)] * len(whole)
    return native + whole, weights


def _positions(last: int, count: int) -> list[int]:
    """Returns evenly spaced positions from 0 to `last`; the middle if there is only one."""
    if count == 1:
        return [round(last * 0.5)]
    return [round(last * index / (count - 1)) for index in range(count)]


def _grid(height: float, width: float, max_views: int) -> tuple[int, int]:
    """Returns the rows and columns that cover an image evenly; `height` and `width` are in sides of a view."""
    rows, columns = max(1, round(height + 0.2)), max(1, round(width + 0.2))
    while rows * columns > max_views:
        if rows >= columns:
            rows -= 1
        else:
            columns -= 1
    return rows, columns


def _reflect_to(image: Tensor, side_px: int) -> Tensor:
    """Reflect an image until both sides are at least `side_px`; a side of 1 px is replicated instead."""
    while min(image.shape[-2:]) < side_px:
        height, width = image.shape[-2:]
        if (side_px > height and height == 1) or (side_px > width and width == 1):
            padding = (0, max(side_px - width, 0), 0, max(side_px - height, 0))
            return F.pad(image[None], padding, mode="replicate")[0]
        bottom, right = min(max(side_px - height, 0), height - 1), min(max(side_px - width, 0), width - 1)
        image = F.pad(image[None], (0, right, 0, bottom), mode="reflect")[0]
    return image
