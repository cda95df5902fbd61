"""Rain: layers of bright streaks; each layer consists of sparse drops smeared along one direction.

Four styles follow the common test sets: a few thin streaks in one direction (Rain100L), a downpour in several
directions (Rain100H), many medium streaks at any angle, and the synthetic rain of Rain1400 (Fu et al. 2017).  The last
one is noise, smeared along one direction and stretched by levels.  It is added to the picture, as the pictures of the
set show (the added value does not depend on the picture), or screened, as the recipe is usually described.
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
    quantize,
    smooth_field,
)


def rain(clean: Image, rng: Random) -> Image:
    """Add rain in one of the four styles, sometimes with mist."""
    style = rng.random()
    if style < 0.32:
        streaks, veil = light_streaks(clean.shape[:2], rng), 0.05
    elif style < 0.58:
        streaks, veil = heavy_streaks(clean.shape[:2], rng), 0.3
    elif style < 0.72:
        streaks, veil = medium_streaks(clean.shape[:2], rng), 0.35
    else:
        streaks, veil = smeared_noise(clean.shape[:2], rng), 0.1
    scene = _mist(clean, rng) if rng.random() < veil else clean
    return quantize(blend(scene, streaks, rng), rng)


def light_streaks(shape: tuple[int, int], rng: Random) -> Field:
    """Draw two to four sparse layers with slightly different directions, with faint and bright streaks.

    Those of Rain100L cover 7..19 % of a picture and add 2..7 of 255 to its mean.
    """
    lean, cover = rng.normal(0, 0.3), log_uniform(rng, 0.05, 0.45)
    layers = int(rng.integers(2, 5))
    streaks: Field = np.zeros(shape, np.float32)
    for _ in range(layers):
        length, width = rng.uniform(15, 65), rng.uniform(0.8, 2.8)
        peak = np.float32(log_uniform(rng, 0.2, 1.0))
        streaks += layer(shape, rng, cover / layers, length, width, lean + rng.normal(0, 0.05), faintest=0.15) * peak
    return streaks


def heavy_streaks(shape: tuple[int, int], rng: Random) -> Field:
    """Draw three to five dense layers, thick and thin, in one or several directions."""
    lean, apart = rng.normal(0, 0.25), rng.choice([0.05, 0.3])
    streaks: Field = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(3, 6))):
        length, width = log_uniform(rng, 15, 80), log_uniform(rng, 0.6, 3.0)
        angle = lean + rng.normal(0, apart)
        streaks += layer(shape, rng, rng.uniform(0.1, 0.35), length, width, angle) * np.float32(rng.uniform(0.4, 1.0))
    return streaks


def medium_streaks(shape: tuple[int, int], rng: Random) -> Field:
    """Draw one to three layers of blurred streaks within 60 degrees of the vertical; many are long and faint.

    Sometimes the streaks are so dense that they brighten the whole picture, as in Rain1400.
    """
    lean, curtain = rng.uniform(-1.05, 1.05), rng.random() < 0.35
    streaks: Field = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        length, width = log_uniform(rng, 10, 80), rng.uniform(0.7, 2.2)
        cover = log_uniform(rng, 0.05, 0.5)
        if curtain:
            length, width, cover = rng.uniform(50, 140), rng.uniform(1.0, 4.0), rng.uniform(0.4, 1.0)
        angle = lean + rng.normal(0, 0.06)
        peak = rng.uniform(0.25, 0.9) * min(1.0, (0.12 / cover) ** 0.5)  # dense layers are fainter
        streaks += layer(shape, rng, cover, length, width, angle) * np.float32(peak)
    return streaks


def smeared_noise(shape: tuple[int, int], rng: Random) -> Field:
    """Smear white noise along one direction and keep the bright part: from faint streaks to a veil.

    Mostly, the density varies over the picture.
    """
    length, width, lean = log_uniform(rng, 15, 140), log_uniform(rng, 0.9, 6.0), rng.normal(0, 0.4)
    seed = rng.standard_normal(shape, dtype=np.float32)
    smeared = cv2.filter2D(seed, -1, streak_kernel(length, width, lean), borderType=cv2.BORDER_REFLECT_101)
    smeared /= max(float(smeared.std()), 1e-6)
    black = rng.uniform(-2.2, 1.5)
    levels: Field = clip((smeared - np.float32(black)) / np.float32(rng.uniform(1.5, 4)))
    if rng.random() < 0.75:
        levels = levels * clip(smooth_field(shape, int(rng.integers(1, 4)), rng) * np.float32(rng.uniform(1, 2)))
    return levels * np.float32(log_uniform(rng, 0.12, 0.9))


def layer(
    shape: tuple[int, int], rng: Random, cover: float, length_px: float, width_px: float, lean: float,
    faintest: float = 0.4,
) -> Field:  # fmt: skip
    """Draw streaks (H, W) of peak brightness about 1 that cover about the share `cover`; `lean` is in radians."""
    height, width = shape
    drops: Field = np.zeros(shape, np.float32)
    count = max(1, round(cover * height * width / (length_px * max(1.0, 2 * width_px))))
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    drops[rows, columns] = rng.uniform(faintest, 1.0, count)
    streaks: Field = cv2.filter2D(
        drops, -1, streak_kernel(length_px, width_px, lean), borderType=cv2.BORDER_REFLECT_101
    )
    return streaks


def streak_kernel(length_px: float, width_px: float, lean: float) -> NDArray[np.float32]:
    """Returns a streak of peak 1: a Gaussian across (full width at half maximum `width_px`), with soft ends."""
    radius = int(np.ceil(length_px / 2)) + 2
    axis = np.arange(-radius, radius + 1, dtype=np.float32)
    along = axis[:, None] * np.cos(lean) + axis[None, :] * np.sin(lean)
    across = axis[None, :] * np.cos(lean) - axis[:, None] * np.sin(lean)
    sigma = max(width_px / 2.355, 0.35)
    ends = np.clip((length_px / 2 - np.abs(along)) / (0.35 * length_px), 0, 1)
    kernel: NDArray[np.float32] = (np.exp(-0.5 * (across / sigma) ** 2) * ends).astype(np.float32)
    return kernel


def blend(scene: Image, streaks: Field, rng: Random) -> Image:
    """Add or screen the streaks, or blend the scene with a light gray."""
    how = rng.random()
    if 0.5 <= how < 0.75:
        return screen(scene, streaks, rng)
    s = np.clip(streaks, 0, 1)[..., None]
    color = grayish(rng, 0.75, 1.0, cast=0.01)
    if how < 0.5:
        return scene + s * color
    return scene * (1 - s) + color * s


def screen(scene: Image, streaks: Field, rng: Random) -> Image:
    """Returns 1 - (1 - scene) (1 - streaks), which never exceeds white."""
    s = np.clip(streaks, 0, 1)[..., None]
    return 1 - (1 - scene) * (1 - s * grayish(rng, 0.75, 1.0, cast=0.01))


def _mist(clean: Image, rng: Random) -> Image:
    """Add the light, uneven veil of distant rain."""
    density = rng.uniform(0.05, 0.35) * (0.5 + smooth_field(clean.shape[:2], 3, rng))[..., None]
    return clip(clean * (1 - density) + grayish(rng, 0.6, 0.9, cast=0.01) * density)
