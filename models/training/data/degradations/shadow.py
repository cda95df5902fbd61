"""Cast shadows: a region with a soft edge that losses direct light and keeps sky light.

Test sets of real pairs (ISTD, Wang et al. 2018; SRD, Qu et al. 2017) show the shadow of one object on a floor: about a
third of the light remains, slightly bluer.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.degradations.image_operations import (
    Field,
    Image,
    Random,
    clip,
    log_uniform,
    quantize,
    smooth_field,
    to_display,
    to_linear,
)

COVER = (0.06, 0.6)
"""Range of the share of the picture in shadow; a shape outside the range is drawn again."""
TRIES = 12


def shadow(clean: Image, rng: Random) -> Image:
    """Add one shadow in linear light, sometimes with gaps."""
    shade = _shade(clean.shape[:2], rng)[..., None]
    left = rng.uniform(0.15, 0.6)
    ambient = clip(left * (1 + rng.normal(0, 0.03, 3)) * np.array([0.94, 1.0, 1.08]))  # sky light is bluer
    return quantize(to_display(to_linear(clean) * (1 - shade * (1 - ambient))), rng)


def _shade(size: tuple[int, int], rng: Random) -> Field:
    """Draw a mask (H, W) in [0, 1], 1 in the core."""
    height, width = size
    shorter = min(height, width)
    sharp = np.zeros(size, np.uint8)
    for _ in range(TRIES):
        sharp = _blob(size, rng) if rng.random() < 0.5 else _band(size, rng)
        if COVER[0] < np.count_nonzero(sharp) / sharp.size < COVER[1]:
            break
    soft_px = log_uniform(rng, 0.6, max(1.0, 0.05 * shorter))
    shade: Field = cv2.GaussianBlur(sharp.astype(np.float32), (0, 0), soft_px)
    if rng.random() < 0.3:  # leaves let light through
        gaps = smooth_field(size, int(rng.integers(4, 14)), rng)
        shade = shade * clip((gaps - 0.3) * np.float32(rng.uniform(3, 8)) + 0.5)
    return shade


def _blob(size: tuple[int, int], rng: Random) -> NDArray[np.uint8]:
    """Draw a rounded shape: a radius that varies with the angle, stretched and rotated."""
    height, width = size
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.ones(64)
    for wave in range(2, 7):
        radius += rng.normal(0, 0.6 / wave) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.15, None) * min(height, width) * rng.uniform(0.2, 0.45)
    x, y = radius * np.cos(angles) * rng.uniform(0.5, 1.8), radius * np.sin(angles)
    turn = rng.uniform(0, np.pi)
    center = rng.uniform(0.1, 0.9, 2) * (width, height)
    points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1) + center
    return _filled(points, size)


def _band(size: tuple[int, int], rng: Random) -> NDArray[np.uint8]:
    """Draw a shape with straight sides, such as the long shadow of a wall, a pole or a person."""
    height, width = size
    reach = float(np.hypot(height, width))
    turn = rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    center = rng.uniform(0.2, 0.8, 2) * (width, height)
    start = -reach if rng.random() < 0.6 else 0.0
    near, far = rng.uniform(0.03, 0.3, 2) * reach
    corners = [center + start * along + near * across, center + reach * along + far * across,
               center + reach * along - far * across, center + start * along - near * across]  # fmt: skip
    return _filled(np.stack(corners), size)


def _filled(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask
