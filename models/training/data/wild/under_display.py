"""A camera behind a display: the picture is blended with its convolution with the point spread of the display.

Shapes:  H W pixels.  Images are BGR (H, W, 3) in [0, 1]; spreads (S, S, 3).
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.wild.random_streams import RandomStreams

BLEND = (0.1, 0.5)


def under_display(image: NDArray[np.floating], spread: NDArray[np.floating], share: float) -> NDArray[np.floating]:
    """Blend `share` of the convolved picture with the picture, per channel; borders wrap around; not clipped."""
    response = np.fft.fft2(np.fft.ifftshift(_fitted(spread, image.shape[:2]), axes=(0, 1)), axes=(0, 1))
    spread_out = np.fft.ifft2(np.fft.fft2(image, axes=(0, 1)) * response, axes=(0, 1)).real.astype(image.dtype)
    blended: NDArray[np.floating] = cv2.addWeighted(spread_out, share, image, 1 - share, 0)
    return blended


def random_under_display(
    image: NDArray[np.floating], spreads: Sequence[NDArray[np.floating]], draws: RandomStreams
) -> NDArray[np.floating]:
    spread = draws.choices.choice(spreads)
    return under_display(image, spread, draws.choices.uniform(*BLEND))


def _fitted(spread: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.floating]:
    """Pad with zeros, or cut around the center, to `size`.

    An odd remainder goes to the bottom and the right, so on even sides the center is one pixel off the origin.  The
    published program has this shift; it is kept for published seeds.
    """
    for axis, wanted in enumerate(size):
        missing = wanted - spread.shape[axis]
        if missing > 0:
            before = missing // 2
            widths = [(0, 0)] * spread.ndim
            widths[axis] = (before, missing - before)
            spread = np.pad(spread, widths)
        elif missing < 0:
            start = -missing // 2
            spread = spread.take(np.arange(start, start + wanted), axis=axis)
    return spread
