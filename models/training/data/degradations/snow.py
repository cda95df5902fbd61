"""Snow: flakes at three distances with one wind direction, and a veil.

Near flakes are few, large and out of focus; far flakes are many, small and sharp (the CSD and Snow100K sets mix such
layers).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from models.training.data.degradations.blur import motion_kernel
from models.training.data.degradations.image_operations import (
    Field,
    Image,
    Random,
    clip,
    from_bytes,
    grayish,
    log_uniform,
    quantize,
    smooth_field,
)
from models.training.data.degradations.rain import streak_kernel

SUBPIXEL_BITS = 4


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Flakes at one distance: radii in pixels, flakes per 10,000 pixels, focus blur in pixels, opacity."""

    radius_px: tuple[float, float]
    per_10k: tuple[float, float]
    blur_px: tuple[float, float]
    opacity: tuple[float, float]


FAR = Distance(radius_px=(0.4, 1.0), per_10k=(20, 150), blur_px=(0.0, 0.6), opacity=(0.6, 1.0))
MIDDLE = Distance(radius_px=(1.0, 2.6), per_10k=(5, 40), blur_px=(0.4, 1.4), opacity=(0.6, 1.0))
NEAR = Distance(radius_px=(3.0, 9.0), per_10k=(0.5, 4), blur_px=(1.5, 4.5), opacity=(0.3, 0.85))


def snow(clean: Image, rng: Random) -> Image:
    """Add flakes at one to three distances, and a veil half of the time."""
    cover: Field = np.zeros(clean.shape[:2], np.float32)
    wind = rng.normal(0, 0.5)
    for distance, probability in ((FAR, 0.8), (MIDDLE, 0.85), (NEAR, 0.6)):
        if rng.random() < probability:
            cover = 1 - (1 - cover) * (1 - flakes(clean.shape[:2], distance, wind, rng))
    scene = _veil(clean, rng) if rng.random() < 0.5 else clean
    s = np.clip(cover, 0, 1)[..., None]
    return quantize(scene * (1 - s) + grayish(rng, 0.82, 1.0, cast=0.012) * s, rng)


def flakes(shape: tuple[int, int], distance: Distance, wind: float, rng: Random) -> Field:
    """Draw one layer (H, W) in [0, 1]: ellipses, blurred by focus and motion."""
    height, width = shape
    count = max(1, round(log_uniform(rng, *distance.per_10k) * height * width / 10_000))
    unit = 1 << SUBPIXEL_BITS
    centers = (rng.random((count, 2)) * (width, height) * unit).astype(int)
    radii = rng.uniform(*distance.radius_px, count)
    squeeze = rng.uniform(0.55, 1.0, count)
    axes = np.maximum(np.stack([radii, radii * squeeze], axis=1) * unit, 1).astype(int)
    turns, tones = rng.uniform(0, 180, count), rng.integers(130, 256, count)
    canvas = np.zeros(shape, np.uint8)
    for center, axis, turn, tone in zip(centers.tolist(), axes.tolist(), turns.tolist(), tones.tolist(), strict=True):
        cv2.ellipse(canvas, center, axis, turn, 0, 360, tone, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    return _soften(from_bytes(canvas), distance, wind, rng) * np.float32(rng.uniform(*distance.opacity))


def _soften(layer: Field, distance: Distance, wind: float, rng: Random) -> Field:
    fall_px = rng.uniform(0, 4) * distance.radius_px[1]
    if rng.random() < 0.6 and fall_px > 2:
        kernel = motion_kernel(rng, fall_px) if rng.random() < 0.2 else streak_kernel(fall_px, 0.8, wind)
        # Brighter than the mean of the kernel: a flake that moves by its own width keeps most of its opacity
        smeared = cv2.filter2D(layer, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
        layer = clip(smeared * rng.uniform(1.0, 2.0))
    sigma = rng.uniform(*distance.blur_px)
    if sigma < 0.3:
        return layer
    soft: Field = cv2.GaussianBlur(layer, (0, 0), sigma)
    return soft


def _veil(clean: Image, rng: Random) -> Image:
    density = rng.uniform(0.03, 0.35) * (0.6 + 0.8 * smooth_field(clean.shape[:2], 3, rng))[..., None]
    return clip(clean * (1 - density) + grayish(rng, 0.7, 0.95, cast=0.015) * density)
