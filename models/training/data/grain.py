"""Measures the grain of a photograph; training pictures that count as clean should have none.

Small photographs of phones and older cameras, at their native size, have as much colored grain as the real noise of a
test set.  An assessor that is trained with them as clean pictures takes camera noise for clean.

Shapes:  H W pixels.  Photos are RGB (H, W, 3) uint8.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 16
FLATTEST_SHARE = 0.15
"""Share of blocks that are measured: their deviation is grain and not texture."""
WINDOW_PX = 800
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
"""Ignores slopes; white noise keeps its standard deviation (Immerkaer 1996, Computer Vision and Image
Understanding 64)."""


def grain(photo: NDArray[np.uint8]) -> float:
    """Returns the grain of the flattest blocks in the center, in levels of 255.

    The result is the larger one of 1.5 times the fine grain and the color blotches.
    """
    top, left = (max(0, (side - WINDOW_PX) // 2) for side in photo.shape[:2])
    window = photo[top : top + WINDOW_PX, left : left + WINDOW_PX].astype(np.float32)
    rows, columns = (side // BLOCK_PX for side in window.shape[:2])
    window = np.ascontiguousarray(window[: rows * BLOCK_PX, : columns * BLOCK_PX])
    smooth = cv2.GaussianBlur(window, (0, 0), 2).mean(axis=2)
    flat = _spread(smooth, BLOCK_PX)
    flattest = flat <= np.quantile(flat, FLATTEST_SHARE)
    fine = _spread(cv2.filter2D(window, -1, LAPLACIAN).mean(axis=2), BLOCK_PX)
    color = cv2.resize(window[..., 0] - window[..., 1], None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    blotches = _spread(color - cv2.GaussianBlur(color, (0, 0), 3), BLOCK_PX // 4)
    return max(1.5 * float(np.median(fine[flattest])), float(np.median(blotches[flattest])))


def _spread(field: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """Returns the standard deviation of each block: (H, W) -> (H W / block^2,)."""
    rows, columns = field.shape[0] // block, field.shape[1] // block
    blocks = field[: rows * block, : columns * block].reshape(rows, block, columns, block)
    spread: NDArray[np.float32] = blocks.std(axis=(1, 3)).ravel()
    return spread
