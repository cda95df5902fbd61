"""Views: the crops of an image that an assessor looks at.

Shapes:  H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1]; a view is square.
"""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from models.pixels import pad_to_multiple


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
