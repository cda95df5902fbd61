"""Haze: the scattering model I = J t + A (1 - t), t = exp(-beta d), on a random depth map.

RESIDE makes its hazy pictures in the same way from measured depth.  Our depth is a tilted plane, smooth fields, and
steps along bright and dark regions of the picture, because objects at one depth often have similar tones.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.degradations.image_operations import (
    Field,
    Image,
    Random,
    clip,
    grayish,
    luminance,
    quantize,
    smooth_field,
)

LEAST_TRANSMISSION = np.float32(0.05)
"""Less transmission leaves fewer than 13 of 256 levels, and nothing to restore."""

LAMP_SHARE = 0.3
"""Share of fog in rooms and near lamps, whose light has one color and uneven brightness (as in REVIDE)."""


def haze(clean: Image, rng: Random) -> Image:
    """Add haze of mean transmission 0.15..0.8; one time in five it is nearly homogeneous."""
    homogeneous = rng.random() < 0.2
    depth = 0.8 + 0.2 * smooth_field(clean.shape[:2], 3, rng) if homogeneous else depth_map(clean, rng)
    transmission = _transmission(depth, 0.15 + 0.65 * rng.beta(1.5, 1.3))
    airlight = grayish(rng, 0.6, 1.0, cast=float(rng.choice([0.015, 0.03, 0.08], p=[0.6, 0.15, 0.25])))
    if rng.random() < LAMP_SHARE:
        return quantize(scatter(clean, transmission, _lamp_light(airlight, clean.shape[:2], rng)), rng)
    return quantize(scatter(clean, transmission, airlight), rng)


def _lamp_light(airlight: NDArray[np.float32], shape: tuple[int, int], rng: Random) -> Image:
    """Returns A (H, W, 3) near lamps and windows: brighter there, darker elsewhere, with about the same mean."""
    depth = np.float32(rng.uniform(0.1, 0.5))
    glow = 1 + depth * (smooth_field(shape, int(rng.integers(1, 4)), rng) - np.float32(0.5))
    return clip(airlight * glow[..., None])


def scatter(clean: Image, transmission: Field, airlight: NDArray[np.float32]) -> Image:
    """J (H, W, 3), t (H, W), A (3,) or (H, W, 3) -> I = J t + A (1 - t)."""
    t = transmission[..., None]
    return clean * t + airlight * (1 - t)


def _transmission(depth: Field, mean: float) -> Field:
    """Returns exp(-beta d), with beta chosen so that the value at the mean depth is `mean`."""
    beta = -np.log(mean) / max(float(depth.mean()), 0.05)
    t: Field = cv2.exp((-beta * depth).astype(np.float32))
    return np.maximum(t, LEAST_TRANSMISSION)


def depth_map(clean: Image, rng: Random) -> Field:
    """Draw depth (H, W) in [0, 1]: mostly larger at the top, with edges along those of the picture."""
    height, width = clean.shape[:2]
    depth = rng.uniform(0, 1) * _plane(height, width, rng)
    depth = depth + rng.uniform(0.1, 0.7) * smooth_field((height, width), int(rng.integers(2, 6)), rng)
    if rng.random() < 0.65:
        depth = depth + rng.uniform(0.15, 0.6) * _tone_steps(clean, rng)
    low, high = float(depth.min()), float(depth.max())
    return clip((depth - low) / max(high - low, 1e-3) * rng.uniform(0.7, 1.0) + rng.uniform(0, 0.3))


def _plane(height: int, width: int, rng: Random) -> Field:
    angle = rng.normal(0, 0.35) if rng.random() < 0.8 else rng.uniform(0, 2 * np.pi)
    rows = np.linspace(1, 0, height, dtype=np.float32)[:, None] * np.float32(np.cos(angle))
    columns = np.linspace(0, 1, width, dtype=np.float32)[None, :] * np.float32(np.sin(angle))
    plane: Field = rows + columns
    return plane


def _tone_steps(clean: Image, rng: Random) -> Field:
    """Draw a random depth for each tone of the smoothed picture, at half resolution."""
    height, width = clean.shape[:2]
    small = cv2.resize(luminance(clean), (max(16, width // 2), max(16, height // 2)), interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.8, 3))
    tones = np.linspace(0, 1, int(rng.integers(3, 8)))
    curve = np.interp(np.arange(256) / 255, tones, rng.random(len(tones))).astype(np.float32)
    steps = curve[(np.clip(smooth, 0, 1) * 255).astype(np.uint8)]
    depth: Field = cv2.resize(steps, (width, height), interpolation=cv2.INTER_LINEAR)
    return depth
