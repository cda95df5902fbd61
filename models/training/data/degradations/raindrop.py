"""Raindrops on a window pane: each drop is a small lens that shows the scene upside down, minified and out of focus.

They look like those of Qian et al. 2018: the camera focuses on the scene, so drops are soft blobs with faint rims that
cover 8..45 % of the picture.  Most have no outline and are paler than the scene behind them: a drop shows much sky.
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
    log_uniform,
    luminance,
    quantize,
    smooth_field,
)

RADIUS_PX = (3.0, 45.0)
"""A typical drop in the 720 x 480 pictures of Qian et al. has 10..40; small ones are a spray."""
SHRINK = 2
"""Drops are out of focus, so the scene in them is drawn at half resolution."""


def raindrop(clean: Image, rng: Random) -> Image:
    """Add drops, at most 60, that cover 8..45 %."""
    height, width = clean.shape[:2]
    drops = _draw_drops(height, width, rng)
    focus = 0.0 if rng.random() < 0.65 else rng.uniform(0.3, 1)
    alpha = _alpha(drops, height, width, focus, rng)
    lens = _shade(refract(clean, drops, focus, rng), alpha, focus, rng)
    a = alpha[..., None]
    return quantize(clean * (1 - a) + lens * a, rng)


def _draw_drops(height: int, width: int, rng: Random) -> NDArray[np.float64]:
    """Draw (N, 4) rows of x, y, horizontal and vertical radius in pixels; large first, so small ones are on top."""
    # In pixels, not relative to the picture: a crop of a photograph shows drops of the same size
    typical = log_uniform(rng, *RADIUS_PX)
    typical = min(typical, 0.2 * min(height, width))
    goal = rng.uniform(0.08, 0.45) * height * width
    radii = typical * np.exp(rng.normal(0, 0.45, 60))
    tall = rng.uniform(0.85, 1.5, 60)
    areas = np.pi * radii**2 * tall
    count = int(np.clip(np.searchsorted(np.cumsum(areas), goal), 1, 60))
    rows = np.stack([rng.random(60) * width, rng.random(60) * height, radii, radii * tall], axis=1)[:count]
    return rows[np.argsort(-rows[:, 2])]


def _alpha(drops: NDArray[np.float64], height: int, width: int, focus: float, rng: Random) -> Field:
    """Returns (H, W) in [0, 1]: ellipses with irregular, merging outlines; soft, translucent blobs at focus 0."""
    mask = np.zeros((height, width), np.uint8)
    for x, y, rx, ry in np.rint(drops).astype(int).tolist():
        cv2.ellipse(mask, (x, y), (max(rx, 1), max(ry, 1)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    typical = float(np.median(drops[:, 2]))
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, 0.35 * typical)).astype(np.float32) / 255
    wobble = 0.3 * smooth_field((height, width), max(4, int(max(height, width) / (2 * typical))), rng)
    blob = clip((soft + wobble - 0.6) * np.float32(rng.uniform(3, 8)) + 0.5)
    widest = 1.0 if focus == 0 else 0.45
    edge_px = max(0.6, (1 - focus) * rng.uniform(0.15, widest) * typical)
    edge: Field = cv2.GaussianBlur(blob, (0, 0), edge_px)
    density = rng.uniform(0.8, 1.0) if focus else rng.uniform(0.5, 1.0)
    thickness = 1 - rng.uniform(0, 0.6) * smooth_field((height, width), 6, rng)  # some drops are thin films
    return edge * thickness * np.float32(density)


def refract(clean: Image, drops: NDArray[np.float64], focus: float, rng: Random) -> Image:
    """Returns the content of the drops, (H, W, 3): around each center the scene, inverted and several times smaller."""
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
    shown = cv2.GaussianBlur(shown, (0, 0), log_uniform(rng, 0.6, 2) if focus else log_uniform(rng, 2, 8))
    lens: Image = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR)
    return lens


def _shade(lens: Image, alpha: Field, focus: float, rng: Random) -> Image:
    """Add a bright or dark rim, lit from above or below, and a grayish gleam."""
    around = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(2, 5))
    rim = alpha - around
    tilt = np.zeros_like(alpha)
    tilt[2:-2] = around[4:] - around[:-4]
    crisp = 0.25 + 0.75 * focus
    light = crisp * (rng.normal(0, 0.35) * rim + rng.uniform(-0.8, 0.8) * tilt) + rng.normal(0.03, 0.06)
    gray = luminance(lens)[..., None]
    paler = lens + (gray - lens) * np.float32(rng.uniform(0, 0.7))  # sky light makes the colors paler
    sky = rng.uniform(0.2, 0.75) if rng.random() < 0.5 else rng.uniform(0, 0.4)
    return clip(paler * (1 - sky) + sky * grayish(rng, 0.5, 0.95, cast=0.03) + light[..., None])
