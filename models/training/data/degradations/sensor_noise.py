"""Sensor noise: white Gaussian noise, photon noise, and the correlated color noise of processed camera pictures.

The standard deviations are in [0, 1] units unless a name says `_255`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.degradations.image_operations import (
    Image,
    Random,
    clip,
    log_uniform,
    quantize,
    to_display,
    to_linear,
)
from models.training.data.degradations.jpeg import compress

SIGMA_255 = (3.0, 60.0)
"""Test sets use 15, 25 and 50."""


def noise(clean: Image, rng: Random) -> Image:
    """Add noise of one of the three types."""
    kind = rng.random()
    if kind < 0.52:
        noisy = gaussian(clean, _sigma_255(rng) / 255, rng)
    elif kind < 0.6:
        noisy = photons(clean, log_uniform(rng, 25, 1500), rng)
    else:
        noisy = camera(clean, rng)
        if rng.random() < 0.5:
            noisy = compress(clip(noisy), int(rng.integers(85, 99)))
    return quantize(noisy, rng)


def _sigma_255(rng: Random) -> float:
    return float(rng.uniform(*SIGMA_255)) if rng.random() < 0.6 else log_uniform(rng, *SIGMA_255)


def gaussian(clean: Image, sigma: float, rng: Random) -> Image:
    """Add white Gaussian noise of standard deviation `sigma`; the result is not clipped."""
    return clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)


def photons(clean: Image, peak: float, rng: Random) -> Image:
    """Apply the Poisson noise of a sensor that counts `peak` photons at white; the result is not clipped."""
    return (rng.poisson(clean * peak) / peak).astype(np.float32)


def camera(clean: Image, rng: Random) -> Image:
    """Add signal-dependent noise in linear light, smeared and mixed across channels like after demosaicing.

    Variance = shot * light + read**2 (Foi et al. 2008, the heteroscedastic model).  Weak noise looks like a modern
    camera at a moderate ISO, strong noise like a phone at night.
    """
    light = to_linear(clean)
    level = log_uniform(rng, 0.006, 0.06)  # about the standard deviation at white
    shot, read = level**2, level * rng.uniform(0.02, 0.25)
    white = rng.standard_normal(clean.shape, dtype=np.float32)
    grain = _smear(white, rng)
    if rng.random() < 0.5:  # a denoiser removes fine noise and leaves coarse noise
        coarse = cv2.GaussianBlur(white[::-1], (0, 0), rng.uniform(1.5, 4.0))
        grain = _unit(grain) + np.float32(rng.uniform(0.1, 0.7)) * _unit(coarse)
    grain = _unit(cv2.transform(grain, _channel_mix(rng)))
    noisy = light + np.sqrt(shot * light + np.float32(read**2)) * grain
    return to_display(clip(noisy))


def _smear(white: Image, rng: Random) -> Image:
    """Returns white noise, or grains of the size that demosaicing and the denoiser of a camera leave."""
    sigma = rng.uniform(0.0, 1.1) if rng.random() < 0.7 else rng.uniform(1.1, 2.5)
    if sigma < 0.3:
        return white
    smeared: Image = cv2.GaussianBlur(white, (0, 0), sigma)
    return smeared


def _channel_mix(rng: Random) -> NDArray[np.float32]:
    """Draw a matrix (3, 3): shared grain, and unequal gains (white balance amplifies red and blue)."""
    shared = rng.uniform(0.0, 0.7)
    gains = np.diag(rng.uniform(0.7, 1.3, 3) * (1.15, 0.8, 1.15))
    mix: NDArray[np.float32] = ((1 - shared) * gains + shared / 3).astype(np.float32)
    return mix


def _unit(grain: Image) -> Image:
    return grain / max(float(grain.std()), 1e-6)
