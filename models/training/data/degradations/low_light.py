"""Underexposure: a dark, noisy, coarsely quantized picture, like the short exposures of the LOL set."""

import cv2
import numpy as np

from models.training.data.degradations.image_operations import Image, Random, log_uniform, power, quantize, smooth_field


def low_light(clean: Image, rng: Random) -> Image:
    """Darken: mostly very dark (the means of LOL are 0.03..0.10), one in four mildly underexposed."""
    mild = rng.random() < 0.25
    dark = expose(clean, rng, log_uniform(rng, 0.3, 0.65) if mild else log_uniform(rng, 0.07, 0.3))
    return quantize(dark + _grain(dark, rng), rng, probability=1.0)


def expose(clean: Image, rng: Random, factor: float) -> Image:
    """Apply a darkening curve and `factor`, sometimes uneven light, and a small color cast."""
    curve = rng.uniform(1.0, 2.2) if rng.random() < 0.7 else 1.0  # the tone curves of LOL have exponents of 1..2
    gains = factor * np.exp(rng.normal(0, 0.06, 3))
    dark = power(clean, curve) * gains.astype(np.float32)
    if rng.random() < 0.3:
        light = smooth_field((clean.shape[0], clean.shape[1]), 2, rng)
        dark *= (0.6 + 0.8 * light)[..., None].astype(np.float32)
    return dark


def _grain(dark: Image, rng: Random) -> Image:
    """Draw sensor noise of 0.5..6 of 255 that grows with the light, strongest in blue, slightly smeared."""
    sigma = log_uniform(rng, 0.5, 6.0) / 255
    white = rng.standard_normal(dark.shape, dtype=np.float32)
    if rng.random() < 0.5:
        blur = rng.uniform(0.4, 0.9)
        white = cv2.GaussianBlur(white, (0, 0), blur) * np.float32(1 + 2 * blur)  # roughly back to unit variance
    gains = sigma * np.array([1.1, 0.85, 1.4])
    grain: Image = white * np.sqrt(0.3 + 4 * dark) * gains.astype(np.float32)
    return grain
