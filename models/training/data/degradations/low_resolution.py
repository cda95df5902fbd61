"""Low resolution: shrunk with an antialiasing filter, then enlarged to the old size.

Matlab's `imresize` shrinks the test sets by a factor of four, and bicubic interpolation enlarges them.  Both are the
same separable linear map (Keys' cubic, a = -0.5, widened by the factor when shrinking).  The cubic filter of OpenCV
has a = -0.75 and is not widened.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.degradations.image_operations import Image, Random, log_uniform, quantize


def low_resolution(clean: Image, rng: Random) -> Image:
    """Shrink and enlarge by 2..8, most often 4; mostly cubic, sometimes shrunk by area or enlarged bilinearly."""
    height, width = clean.shape[:2]
    factor = _factor(rng)
    small_height, small_width = max(4, round(height / factor)), max(4, round(width / factor))
    small = _shrink(clean, small_height, small_width, rng)
    return quantize(_enlarge(quantize(small, rng), height, width, rng), rng)


def _factor(rng: Random) -> float:
    draw = rng.random()
    if draw < 0.4:
        return 4.0
    return float(rng.choice([2, 3, 8])) if draw < 0.6 else log_uniform(rng, 2, 8)


def _shrink(image: Image, height: int, width: int, rng: Random) -> Image:
    if rng.random() < 0.8:
        return resize_cubic(image, height, width)
    small: Image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small


def _enlarge(image: Image, height: int, width: int, rng: Random) -> Image:
    if rng.random() < 0.85:
        return resize_cubic(image, height, width)
    large: Image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return large


def resize_cubic(image: Image, height: int, width: int) -> Image:
    """Resize like Matlab's antialiased bicubic `imresize`; the result is not clipped."""
    tall = _resize_rows(image, height)  # (H', W, 3)
    return np.ascontiguousarray(cv2.transpose(_resize_rows(cv2.transpose(tall), width)))


def _resize_rows(image: Image, target: int) -> Image:
    """Add weighted rows, one tap at a time: BLAS would compete with training for threads."""
    taps, weights = cubic_taps(image.shape[0], target)
    resized = np.zeros((target, *image.shape[1:]), np.float32)
    for index, weight in zip(taps.T, weights.T, strict=True):
        resized += image[index] * weight[:, None, None]
    return resized


@lru_cache(maxsize=512)
def cubic_taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Returns (target, taps) source indices and their weights; each row sums to 1, borders are mirrored."""
    scale = min(1.0, target / source)
    centers = (np.arange(target) + 0.5) * source / target - 0.5
    first = np.floor(centers - 2 / scale).astype(np.intp) + 1
    taps = first[:, None] + np.arange(int(np.ceil(4 / scale)) + 1)
    weights = keys_cubic((centers[:, None] - taps) * scale)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.mod(taps, 2 * source)
    return np.where(mirrored < source, mirrored, 2 * source - 1 - mirrored), weights.astype(np.float32)


def keys_cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns Keys' interpolation kernel with a = -0.5 (IEEE TASSP 1981)."""
    x = np.abs(distance)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
