"""Raindrops on a window pane: each drop is a small lens that shows the scene upside down, minified and out of focus.

The look is that of Qian et al. 2018: the camera focuses on the scene, so drops are soft blobs with faint rims that cover
5..40 % of the picture.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.degradations.image import Field, Image, Random, clip, log_uniform, quantise, smooth_field

SHRINK = 2
"""Drops are out of focus anyway, so their insides are drawn at half resolution."""


def raindrop(clean: Image, rng: Random) -> Image:
    """Drops until a cover of 5..40 % is reached, 60 at most."""
    height, width = clean.shape[:2]
    drops = _draw_drops(height, width, rng)
    alpha = _alpha(drops, height, width, rng)
    lens = _shade(refract(clean, drops, rng), alpha, rng)
    strength = np.float32(rng.uniform(0.75, 1.0))
    a = (alpha * strength)[..., None]
    return quantise(clean * (1 - a) + lens * a, rng)


def _draw_drops(height: int, width: int, rng: Random) -> NDArray[np.float64]:
    """(N, 4) rows of x, y, horizontal and vertical radius in pixels; big first, so that small ones lie on top."""
    scale = (height * width) ** 0.5
    typical = log_uniform(rng, 0.025, 0.09) * min(max(scale, 96), 320)
    goal = rng.uniform(0.05, 0.4) * height * width
    radii = typical * np.exp(rng.normal(0, 0.45, 60))
    tall = rng.uniform(0.85, 1.5, 60)
    areas = np.pi * radii**2 * tall
    count = int(np.clip(np.searchsorted(np.cumsum(areas), goal), 2, 60))
    rows = np.stack([rng.random(60) * width, rng.random(60) * height, radii, radii * tall], axis=1)[:count]
    return rows[np.argsort(-rows[:, 2])]


def _alpha(drops: NDArray[np.float64], height: int, width: int, rng: Random) -> Field:
    """(H, W) in [0, 1]: ellipses whose outlines wobble and run together, with soft edges."""
    mask = np.zeros((height, width), np.uint8)
    for x, y, rx, ry in np.rint(drops).astype(int).tolist():
        cv2.ellipse(mask, (x, y), (max(rx, 1), max(ry, 1)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    typical = float(np.median(drops[:, 2]))
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, 0.35 * typical)).astype(np.float32) / 255
    wobble = 0.3 * smooth_field((height, width), max(4, int(max(height, width) / (2 * typical))), rng)
    blob = clip((soft + wobble - 0.6) * np.float32(rng.uniform(3, 8)) + 0.5)
    edge: Field = cv2.GaussianBlur(blob, (0, 0), rng.uniform(0.6, 2.5))
    return edge


def refract(clean: Image, drops: NDArray[np.float64], rng: Random) -> Image:
    """What the drops show, (H, W, 3): around each one's centre the scene turned over and several times smaller."""
    height, width = clean.shape[:2]
    small_width, small_height = width // SHRINK, height // SHRINK
    small = cv2.resize(clean, (small_width, small_height), interpolation=cv2.INTER_AREA)
    columns, rows = np.meshgrid(
        np.arange(small_width, dtype=np.float32), np.arange(small_height, dtype=np.float32)
    )  # (H', W') each
    minify = rng.uniform(2, 7)
    sources = np.array([0.5, 0.5]) + rng.normal(0, 0.25, (len(drops), 2))
    for (x, y, rx, ry), (u, v) in zip((drops / SHRINK).tolist(), sources.tolist(), strict=True):
        left, right = max(0, int(x - 1.5 * rx)), min(small_width, int(x + 1.5 * rx) + 2)
        top, bottom = max(0, int(y - 1.5 * ry)), min(small_height, int(y + 1.5 * ry) + 2)
        columns[top:bottom, left:right] = u * small_width - minify * (np.arange(left, right) - x)[None, :]
        rows[top:bottom, left:right] = v * small_height - minify * (np.arange(top, bottom) - y)[:, None]
    shown = cv2.remap(small, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    shown = cv2.GaussianBlur(shown, (0, 0), log_uniform(rng, 0.8, 4))
    lens: Image = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR)
    return lens


def _shade(lens: Image, alpha: Field, rng: Random) -> Image:
    """A rim, bright or dark, lit from above or below; and a drop's own greyish gleam."""
    around = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(2, 5))
    rim = alpha - around
    tilt = np.zeros_like(alpha)
    tilt[2:-2] = around[4:] - around[:-4]
    light = rng.normal(0, 0.35) * rim + rng.uniform(-0.8, 0.8) * tilt + rng.normal(0.03, 0.06)
    haze = rng.uniform(0, 0.35)
    return clip(lens * (1 - haze) + haze * rng.uniform(0.5, 0.9) + light[..., None])
