"""Peak signal-to-noise ratio (PSNR): how close one picture is to another, in decibels.

Shapes:  B batch, H W pixels.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = Tensor | NDArray[np.generic]

MEAN_SQUARE_FLOOR = 3e-5
"""`mean_psnr` counts no picture for more than this error allows: 45 dB."""


def peak_of(a: Values, b: Values) -> float:
    """Returns the largest value of the pictures' type: 255 for uint8, 65535 for uint16.

    Raises:
        ValueError: the shapes or types differ.
    """
    if a.shape != b.shape or a.dtype != b.dtype:
        shapes = f"{a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"
        raise ValueError(f"got {shapes}, expected pictures of one shape and type")
    return float(np.iinfo(np.asarray(a).dtype).max)


def psnr(a: Values, b: Values, peak: float | None = None) -> float:
    """Returns the PSNR in dB over all values, computed in float64; infinite for equal pictures.

    `peak` is the width of the value range, 2 for [-1, 1]; None: the largest value of the integer type.  Tensors must be
    in host memory.

    Raises:
        ValueError: without a peak, the shapes or types differ.
    """
    peak = peak_of(a, b) if peak is None else peak
    error = float(np.mean(np.square(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))))
    return 10 * math.log10(peak**2 / error) if error > 0 else math.inf


def mean_psnr(results: Tensor, targets: Tensor) -> float:
    """Returns the mean PSNR of a batch in dB, each at most 45: 2 x (B, 3, H, W) in [-1, 1], `results` clamped to it."""
    error = (results.clamp(-1, 1) - targets).square().mean(dim=(1, 2, 3)) / 4
    return float(-10 * torch.log10(error.clamp_min(MEAN_SQUARE_FLOOR)).mean())
