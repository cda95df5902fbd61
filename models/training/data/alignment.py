"""Checks that two pictures of a pair show the same scene at the same place.

A network that learns from shifted pairs learns to blur.  Two tests: the correlation of both pictures without their fine
detail (another scene, or another section of it), and the shift that phase correlation finds (Kuglin & Hines 1975).
Damage changes pictures, too, so a shift only counts if the pictures fit clearly better after it is undone.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import TrainingError

Gray = NDArray[np.float32]

LONGEST_PX = 512
"""Pictures are compared at this longer side at most."""
MIN_CORRELATION = 0.2
MIN_SHIFT_PX = 2.0
"""Of the compared pictures: camera shake and enlarged pictures move by up to this."""
MIN_BETTER = 0.1
"""How much the correlation of the edges must rise when the shift is undone."""


def check_aligned(degraded: NDArray[np.uint8], truth: NDArray[np.uint8], lq: Path, gt: Path) -> None:
    """Refuse a pair that does not match; both pictures have the same size.

    Raises:
        TrainingError: the pictures are shifted, or show something else; the message names both files.
    """
    scale = min(1.0, LONGEST_PX / max(truth.shape[:2]))
    one, other = (_gray(picture, scale) for picture in (degraded, truth))
    shift = shift_of(one, other)
    if shift is not None:
        right, down = (round(part / scale) for part in shift)
        raise TrainingError(
            f"{lq} is shifted by {right} px to the right and {down} px down against {gt}. Align both photos (with "
            "align_image_stack of Hugin, for example), or remove the pair. --no-check trains on it all the same."
        )
    found = correlation(one, other)
    if found < MIN_CORRELATION:
        raise TrainingError(
            f"{lq} and {gt} do not show the same picture (correlation {found:.2f}, expected at least "
            f"{MIN_CORRELATION}). Check their names, or remove the pair. --no-check trains on it all the same."
        )


def shift_of(one: Gray, other: Gray) -> tuple[float, float] | None:
    """Returns how far `one` is shifted to the right and down against `other`, in px; None if both fit as they are."""
    if min(one.shape) < 32:
        return None
    edges = [_edges(picture) for picture in (one, other)]
    window = cv2.createHanningWindow((one.shape[1], one.shape[0]), cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(edges[1], edges[0], window)
    if max(abs(right), abs(down)) < MIN_SHIFT_PX or max(abs(right), abs(down)) > min(one.shape) / 3:
        return None
    height, width = one.shape
    back = np.array([[1, 0, -right], [0, 1, -down]], dtype=np.float32)
    moved = cv2.warpAffine(edges[0], back, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    better = _correlated(moved, edges[1]) - _correlated(edges[0], edges[1])
    return (right, down) if better > MIN_BETTER else None


def correlation(one: Gray, other: Gray) -> float:
    """Returns the correlation of two pictures without their fine detail, from -1 to 1; 1 for flat pictures."""
    soft = [cv2.GaussianBlur(picture, (0, 0), max(1.0, max(picture.shape) / 100)) for picture in (one, other)]
    if min(float(picture.std()) for picture in soft) < 1e-3:
        return 1.0
    return _correlated(*soft)


def _gray(picture: NDArray[np.uint8], scale: float) -> Gray:
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(gray, dtype=np.float32)


def _edges(picture: Gray) -> Gray:
    """Returns the size of the gradient, which survives darkness and haze."""
    soft = cv2.GaussianBlur(picture, (0, 0), 1.5)
    x, y = (cv2.Sobel(soft, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return np.asarray(np.hypot(x, y), dtype=np.float32)


def _correlated(one: Gray, other: Gray) -> float:
    spread = float(one.std() * other.std())
    return float(((one - one.mean()) * (other - other.mean())).mean()) / max(spread, 1e-9)
