"""How near one picture is to another: PSNR and SSIM.

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
    """Structural similarity, at most 1 (Wang, Bovik, Sheikh, Simoncelli 2004), the mean of the three channels.

    An 11 px Gaussian window of sigma 1.5, weighted (not sample) variances, and only places where the window fits whole.

    Raises:
        ValueError: the shapes or types differ, or a side is shorter than the window.
    """
    peak = peak_of(a, b)
    if min(a.shape[:2]) < WINDOW_PX:
        raise ValueError(f"got pictures of {a.shape[1]}x{a.shape[0]} px, expected at least {WINDOW_PX} a side for SSIM")
    # one channel at a time: the moments of a 24 MP photo in float64 would take several GB at once
    channels = zip(np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0), strict=True)
    return float(np.mean([_similarity(x.astype(np.float64), y.astype(np.float64), peak) for x, y in channels]))


PSNR_CAP_DB = 100.0
"""What an infinite PSNR counts as in means and gains: about one value in 150,000 off by one."""

METRICS: dict[str, Callable[[Pixels, Pixels], float]] = {"psnr": psnr, "ssim": ssim}
"""What the suite measures against a ground truth; for each, more is better."""


def _similarity(x: Plane, y: Plane, peak: float) -> float:
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    mean_x, mean_y = _weighted_mean(x), _weighted_mean(y)
    variances = _weighted_mean(x * x) - mean_x**2 + _weighted_mean(y * y) - mean_y**2
    covariance = _weighted_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (variances + c2)))


def _weighted_mean(plane: Plane) -> Plane:
    """The Gaussian window's mean at every place where it fits: (H, W) -> (H - 10, W - 10)."""
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
