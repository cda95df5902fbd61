"""Ringing: an ideal low-pass filter, and a deconvolution with overshoot.

Kernels are (K, K), K odd, and sum to 1.  Images are (H, W, 3) in [0, 1]; the results are not clipped.
"""

import math

import numpy as np
from numpy.typing import NDArray

REGULARIZATION = 0.006
PAD_PX = 20


def sinc_kernel(cutoff: float, size: int) -> NDArray[np.float64]:
    """Returns the ideal circular low-pass c J1(c r) / (2 pi r); `cutoff` is in radians a pixel, at most pi
    (arXiv:2107.10833).
    """
    axis = np.arange(size) - size // 2
    r = np.hypot(axis[:, None], axis[None, :])
    r[size // 2, size // 2] = 1.0  # any value: the limit is set below
    kernel = cutoff * bessel_j1(cutoff * r) / (2 * np.pi * r)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    normed: NDArray[np.float64] = kernel / kernel.sum()
    return normed


def bessel_j1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns J1 for 0 <= x <= 60, exact to rounding, from Bessel's integral.

    Its integrand is periodic, so the trapezoidal rule converges faster than any power.  (The function of torch has
    errors of 1e-8 for large x.)
    """
    angles = np.arange(160) * (2 * np.pi / 160)
    values: NDArray[np.float64] = np.cos(angles - x[..., None] * np.sin(angles)).mean(axis=-1)
    return values


def wiener(image: NDArray[np.floating], kernel: NDArray[np.floating]) -> NDArray[np.floating]:
    """Invert `kernel` per channel with the Wiener filter conj(K) / (|K|^2 + 0.006), with symmetric borders of 20 px.

    On a picture blurred with this kernel, it restores edges and causes ringing around them.
    """
    size = kernel.shape[0]
    padded = np.pad(image, ((PAD_PX, PAD_PX), (PAD_PX, PAD_PX), (0, 0)), mode="symmetric")  # (H + 40, W + 40, 3)
    place = np.zeros(padded.shape[:2], kernel.dtype)
    place[:size, :size] = kernel / kernel.sum()
    response = np.fft.fft2(np.roll(place, (-(size // 2), -(size // 2)), axis=(0, 1)))
    inverse = np.conj(response) / (np.abs(response) ** 2 + REGULARIZATION)
    sharp = np.fft.ifft2(np.fft.fft2(padded, axes=(0, 1)) * inverse[..., None], axes=(0, 1)).real
    result: NDArray[np.floating] = sharp[PAD_PX:-PAD_PX, PAD_PX:-PAD_PX]
    return result
