"""Pictures with holes for inpainting: brush strokes, ellipses and rectangles, filled with white.

The published systems fill holes with white (their word is "uncompleted").  The masks are our own.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.degradations.image_operations import Image, Random, log_uniform, quantize

COVER = (0.04, 0.5)
"""Range of the missing share of the picture."""


def incomplete(clean: Image, rng: Random) -> Image:
    """Fill a random mask with white."""
    holes = hole_mask(clean.shape[:2], rng)
    return quantize(np.where(holes[..., None], np.float32(1), clean), rng)


def hole_mask(size: tuple[int, int], rng: Random) -> NDArray[np.bool_]:
    """Draw a mask (H, W), true in the holes; shapes are added until the mask covers a random share within COVER."""
    goal = rng.uniform(COVER[0], 0.4)
    mask = np.zeros(size, np.uint8)
    draw = (_stroke, _ellipse, _rectangle)[int(rng.choice(3, p=(0.6, 0.25, 0.15)))]
    for _ in range(60):
        with_more = mask.copy()
        draw(with_more, rng)
        cover = np.count_nonzero(with_more) / mask.size
        if cover <= COVER[1]:
            mask = with_more
        if goal <= cover <= COVER[1]:
            break
    return mask.astype(bool)


def _stroke(mask: NDArray[np.uint8], rng: Random) -> None:
    """Draw a brush stroke: a path with inertia and one thickness."""
    height, width = mask.shape
    thickness = round(log_uniform(rng, 0.015, 0.12) * min(height, width))
    points = int(rng.integers(4, 14))
    turns = np.cumsum(rng.normal(0, 0.8, points)) + rng.uniform(0, 2 * np.pi)
    moves = rng.uniform(0.03, 0.15, points) * max(height, width)
    path = np.cumsum(np.stack([moves * np.cos(turns), moves * np.sin(turns)], axis=1), axis=0)
    path += rng.uniform(0, 1, 2) * (width, height) - path.mean(axis=0)
    cv2.polylines(mask, [np.rint(path).astype(np.int32)], False, 1, max(thickness, 2))


def _ellipse(mask: NDArray[np.uint8], rng: Random) -> None:
    height, width = mask.shape
    axes = np.maximum(1, rng.uniform(0.02, 0.15, 2) * min(height, width)).astype(int)
    center = (rng.uniform(0, 1, 2) * (width, height)).astype(int)
    cv2.ellipse(mask, center.tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, 1, -1)


def _rectangle(mask: NDArray[np.uint8], rng: Random) -> None:
    height, width = mask.shape
    tall, wide = (rng.uniform(0.05, 0.45, 2) * (height, width)).astype(int)
    top, left = rng.integers(0, height - tall), rng.integers(0, width - wide)
    mask[top : top + tall, left : left + wide] = 1
