"""Fills the pixels that transparency hides, so that nothing that cannot be seen steers a repair, and puts them back.

A cut-out has any color under alpha 0: black, white, or what the photo showed there.  An assessor would look at it, and
a repair would spread it over the rim.  So each row is continued as its mirror image, which keeps noise, rain and grain
as they are in the visible part.

Shapes:  H W pixels, N hidden pixels.  Pixels are RGB (H, W, 3), uint8 or uint16; alpha is (H, W).  Torch-free.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.photo.read import Samples

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
HIDDEN_BELOW = 1 / 32
"""Pixels of less opacity cannot be seen.  All others count as they are, whatever lies behind them."""
SHORTEST_PX = 16
"""Rows without a visible run of this length are filled from other rows: a mirrored run of few pixels is a pattern."""


def hidden_mask(alpha: Samples | None) -> Mask | None:
    """Returns where alpha hides the pixels, (H, W); None if it hides none, or all."""
    if alpha is None:
        return None
    hidden = alpha < np.iinfo(alpha.dtype).max * HIDDEN_BELOW
    return hidden if hidden.any() and not hidden.all() else None


def filled(pixels: Samples, hidden: Mask) -> Samples:
    """Returns the pixels with mirror images of the visible ones in place of the hidden ones."""
    rows = ~hidden
    columns = _mirrored_columns(rows)
    out = np.take_along_axis(pixels, columns[..., None], axis=1)
    usable = _longest_runs(rows) >= min(SHORTEST_PX, max(1, int(_longest_runs(rows).max())))
    source = _mirrored_columns(usable[None])[0]
    empty = ~usable
    out[empty] = out[source[empty]]
    out[rows] = pixels[rows]
    return cast(Samples, out)


def put_back(pixels: Samples, hidden: Mask, original: Samples) -> Samples:
    """Returns the pixels with the original ones, (N, 3), where they are hidden."""
    out = pixels.copy()
    out[hidden] = original
    return out


def _mirrored_columns(visible: Mask) -> Indices:
    """Returns for each place of (H, W) the column to take: its own, or its mirror image in the nearest visible run.

    A place that is farther from the run than the run is long is mirrored again.
    """
    width = visible.shape[1]
    at = np.broadcast_to(np.arange(width), visible.shape)
    padded = np.pad(visible, ((0, 0), (1, 1)))
    begins, ends = padded[:, 1:-1] & ~padded[:, :-2], padded[:, 1:-1] & ~padded[:, 2:]
    last = np.maximum.accumulate(np.where(visible, at, -1), axis=1)  # the nearest visible column on the left
    following = np.minimum.accumulate(np.where(visible, at, 2 * width)[:, ::-1], axis=1)[:, ::-1]
    first_of = np.maximum.accumulate(np.where(begins, at, -1), axis=1)
    last_of = np.minimum.accumulate(np.where(ends, at, 2 * width)[:, ::-1], axis=1)[:, ::-1]
    left_px, right_px = np.where(last < 0, 4 * width, at - last), np.where(following > width, 4 * width, following - at)
    from_left = left_px <= right_px
    # Of a hidden place, the run on its left began at the last beginning, and that on its right ends at the next end
    length = np.maximum(np.where(from_left, last - first_of, last_of - following) + 1, 1)
    turn = np.maximum(np.where(from_left, left_px, right_px) - 1, 0) % (2 * length)
    offset = np.where(turn < length, turn, 2 * length - 1 - turn)
    mirrored = np.where(from_left, last - offset, following + offset)
    return cast(Indices, np.clip(np.where(visible, at, mirrored), 0, width - 1))


def _longest_runs(visible: Mask) -> Indices:
    """Returns the length of the longest visible run of each row, (H,)."""
    at = np.arange(visible.shape[1])
    last_hidden = np.maximum.accumulate(np.where(visible, -1, at), axis=1)
    return cast(Indices, np.where(visible, at - last_hidden, 0).max(axis=1))
