"""PSNR and SSIM: the similarity of a picture to its ground truth.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3), both uint8 or both uint16; the peak is the type's largest value.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.pixels import Pixels
from models.psnr import peak_of, psnr

Plane = NDArray[np.float64]  # (H, W)

WINDOW_PX, WINDOW_SIGMA_PX = 11, 1.5
K1, K2 = 0.01, 0.03


def ssim(a: Pixels, b: Pixels) -> float:
    """Returns the structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), the mean of three channels, at most 1.

    It uses an 11 px Gaussian window of sigma 1.5 and weighted (not sample) variances, without borders.

    Raises:
        ValueError: the shapes or types differ, or a side is shorter than the window.
    """
    peak = peak_of(a, b)
    if min(a.shape[:2]) < WINDOW_PX:
        raise ValueError(f"got pictures of {a.shape[1]}x{a.shape[0]} px, expected at least {WINDOW_PX} a side for SSIM")
    # one channel at a time: the moments of all channels of a 24 MP photo take several GB in float64
    channels = zip(np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0), strict=True)
    return float(np.mean([_similarity(x.astype(np.float64), y.astype(np.float64), peak) for x, y in channels]))


PSNR_CAP_DB = 100.0
"""The value of an infinite PSNR in means and gains.  One value in 150,000 off by one has about this PSNR."""

METRICS: dict[str, Callable[[Pixels, Pixels], float]] = {"psnr": psnr, "ssim": ssim}
"""The metrics that the suite always measures against a ground truth; higher is better."""


def _similarity(x: Plane, y: Plane, peak: float) -> float:
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    mean_x, mean_y = _weighted_mean(x), _weighted_mean(y)
    variances = _weighted_mean(x * x) - mean_x**2 + _weighted_mean(y * y) - mean_y**2
    covariance = _weighted_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (variances + c2)))


def _weighted_mean(plane: Plane) -> Plane:
    """Returns the mean under the Gaussian window at every position inside the plane: (H, W) -> (H - 10, W - 10)."""
    offsets = np.arange(WINDOW_PX) - WINDOW_PX // 2
    weights = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA_PX**2))
    weights /= weights.sum()
    height, width = plane.shape[0] - WINDOW_PX + 1, plane.shape[1] - WINDOW_PX + 1
    rows = np.zeros((height, plane.shape[1]))
    for offset, weight in enumerate(weights):
        rows += weight * plane[offset : offset + height]
    means = np.zeros((height, width))
    for offset, weight in enumerate(weights):
        means += weight * rows[:, offset : offset + width]
    return means
