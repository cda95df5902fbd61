"""The Gaussian and Poisson noise of the published pipeline, in color or gray.

Shapes:  H W pixels.  Images are BGR (H, W, 3) float32 in [0, 1]; sigmas are in levels of 255.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.wild.random_streams import RandomStreams

GAUSSIAN_ODDS = 0.6
SIGMA_255 = (1.0, 5.0)
SCALE = (0.01, 0.5)
GRAY_ODDS = 0.4

Image = NDArray[np.floating]


def gaussian(image: Image, sigma_255: float, draws: RandomStreams, *, gray: bool = False) -> Image:
    """Add white noise and clip to [0, 1]; gray noise is equal in the three channels."""
    shape = (*image.shape[:2], 1) if gray else image.shape
    noise = draws.numbers.standard_normal(shape).astype(np.float32) * sigma_255 / 255.0
    noisy: Image = np.clip(image + noise, 0, 1)
    return noisy


def poisson(image: Image, scale: float, draws: RandomStreams, *, gray: bool = False) -> Image:
    """Add `scale` times the photon noise of a sensor with as many levels as the picture has, and clip to [0, 1]."""
    light = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None] if gray else image
    light = np.clip((light * 255.0).round(), 0, 255) / 255.0
    levels = float(2 ** np.ceil(np.log2(len(np.unique(light)))))
    noise = (draws.numbers.poisson(light * levels) / levels).astype(np.float32) - light
    noisy: Image = np.clip(image + noise * scale, 0, 1)
    return noisy


def random_gaussian(image: Image, draws: RandomStreams) -> Image:
    sigma = draws.uniform(*SIGMA_255)
    return gaussian(image, sigma, draws, gray=draws.numbers.uniform() < GRAY_ODDS)


def random_poisson(image: Image, draws: RandomStreams) -> Image:
    scale = draws.uniform(*SCALE)
    return poisson(image, scale, draws, gray=draws.numbers.uniform() < GRAY_ODDS)


def random_noise(image: Image, draws: RandomStreams) -> NDArray[np.float64]:
    """Add either, both or neither, then round to the 8-bit grid."""
    if draws.happens(GAUSSIAN_ODDS):
        image = random_gaussian(image, draws)
    if draws.happens(1 - GAUSSIAN_ODDS):
        image = random_poisson(image, draws)
    rounded: NDArray[np.float64] = np.clip((image * 255.0).round(), 0, 255).astype(np.uint8) / 255.0
    return rounded
