"""Adds stripes that belong to the picture, such as those of a zebra, a fence or a blind.

A deraining network that has seen few stripes removes them as rain (it removed those of a zebra of Rain100L).  So some
clean crops get a patch of stripes before they are degraded.

Shapes:  H W pixels.  Images are RGB (H, W, 3) float32 in [0, 1].
"""

import numpy as np

from models.training.data.degradations.image_operations import Image, Random, clip, log_uniform, smooth_field


def striped(clean: Image, rng: Random) -> Image:
    """Add alternating stripes of two tones, straight or wavy, crisp or soft, to a shaded region of the crop."""
    height, width = clean.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    turn, period_px = rng.uniform(0, np.pi), log_uniform(rng, 4, 28)
    wave = smooth_field((height, width), int(rng.integers(1, 4)), rng) * np.float32(rng.uniform(0, 40))
    phase = (columns * np.cos(turn) + rows * np.sin(turn) + wave) * (2 * np.pi / period_px)
    share = clip(0.5 + (np.sin(phase) + rng.uniform(-0.5, 0.5)) * rng.uniform(0.7, 4))[..., None]
    dark, light = rng.uniform(0, 0.35), rng.uniform(0.45, 1)
    tones = [tone + rng.normal(0, 0.06, 3).astype(np.float32) for tone in (dark, light)]
    shading = 0.6 + 0.4 * smooth_field((height, width), 3, rng)[..., None]
    region = clip((smooth_field((height, width), int(rng.integers(1, 4)), rng) - 0.45) * 12)[..., None]
    region = region * np.float32(rng.uniform(0.6, 1))
    stripes = clip((tones[0] * (1 - share) + tones[1] * share) * shading)
    return clip(clean * (1 - region) + stripes * region)
