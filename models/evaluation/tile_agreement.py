"""Measures whether the tiles of a large photo agree: their brightness, and the seams between them.

Both compare a result of tiles with one that saw the whole picture at once: with a `tile_px` of the picture, or that of
a smaller copy.  What both have in common, such as the picture itself, cancels.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8, and results are levels of 255.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.evaluation.pairs import Picture

CELLS = 32
"""Cells along the longer side, in which brightness is averaged."""
SEAM_PX, SEAM_LENGTH_PX = 8, 64
"""A seam is a step between the means of 8 px on both sides of a line of 64 px."""


def brightness_drift(result: Picture, reference: Picture) -> float:
    """Returns the largest difference of local brightness, after the difference of all is taken off, in levels of 255.

    Args:
        result: of tiles.
        reference: of the whole picture at once, or of a smaller copy with the same aspect ratio.
    """
    height, width = result.shape[:2]
    scale = CELLS / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    ours, theirs = (_brightness(picture, size) for picture in (result, reference))
    difference = ours - theirs
    return float(np.abs(difference - np.median(difference)).max())


def _brightness(picture: Picture, size: tuple[int, int]) -> NDArray[np.float32]:
    gray = Image.fromarray(picture.astype(np.float32).mean(axis=2))
    return np.asarray(gray.resize(size, Image.Resampling.BOX), np.float32)


def seam_jump(result: Picture, reference: Picture) -> float:
    """Returns the largest step of the difference across a straight line of 64 px, in levels of 255; 0 if too small.

    Raises:
        ValueError: the pictures have different sizes.
    """
    if result.shape != reference.shape:
        raise ValueError(f"got pictures of {result.shape} and {reference.shape}, expected one size")
    difference = result.astype(np.float64).mean(axis=2) - reference.astype(np.float64).mean(axis=2)
    return max(_largest_step(difference), _largest_step(difference.T))


def _largest_step(difference: NDArray[np.float64]) -> float:
    """Returns the largest step across vertical lines."""
    height, width = difference.shape
    length = min(SEAM_LENGTH_PX, height)
    if width < 2 * SEAM_PX:
        return 0.0
    sums = np.pad(difference.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    columns = sums[length:] - sums[:-length]  # sums of windows of `length` rows, cumulated along the row
    boxes = (columns[:, SEAM_PX:] - columns[:, :-SEAM_PX]) / (length * SEAM_PX)
    return float(np.abs(boxes[:, SEAM_PX:] - boxes[:, :-SEAM_PX]).max())
