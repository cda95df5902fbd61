"""Operations that all synthesizers share: image types, the 8-bit grid, linear light, smooth random fields.

Shapes:  H W pixels, each at least 32.  Images are RGB (H, W, 3) float32 in [0, 1]; fields are (H, W) float32.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Field = NDArray[np.float32]
Random = np.random.Generator
Synthesizer = Callable[[Image, Random], Image]

DISPLAY_GAMMA = 2.2
ROUNDED_SHARE = 0.9
"""Share of images on the 8-bit grid: files have 8 bits, but the input of later passes does not."""


def clip(image: NDArray[np.floating]) -> Image:
    """Clip to [0, 1] as float32; always returns a new array."""
    clipped: Image = np.clip(image, 0.0, 1.0).astype(np.float32, copy=False)
    return clipped


def quantize(image: NDArray[np.floating], rng: Random, probability: float = ROUNDED_SHARE) -> Image:
    """Clip to [0, 1] and, with this probability, round to 8-bit levels; the last operation of every synthesis."""
    clipped = clip(image)
    if rng.random() < probability:
        np.multiply(clipped, 255, out=clipped)
        np.rint(clipped, out=clipped)
        np.divide(clipped, 255, out=clipped)
    return clipped


def as_bytes(image: Image) -> NDArray[np.uint8]:
    """[0, 1] -> 0..255, rounded."""
    rounded: NDArray[np.uint8] = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
    return rounded


def from_bytes(pixels: NDArray[np.uint8]) -> Image:
    """0..255 -> [0, 1]."""
    image: Image = np.divide(pixels, 255, dtype=np.float32)
    return image


def power(image: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """Returns `image ** exponent` of a non-negative image; cv2 is several times as fast as numpy."""
    raised: NDArray[np.float32] = cv2.pow(np.maximum(image, 0, dtype=np.float32), exponent)
    return raised


def to_linear(image: Image) -> Image:
    """Convert display values to linear light."""
    return power(image, DISPLAY_GAMMA)


def to_display(light: Image) -> Image:
    """Convert linear light to display values."""
    return power(light, 1 / DISPLAY_GAMMA)


def log_uniform(rng: Random, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_field(shape: tuple[int, int], cells: int, rng: Random) -> Field:
    """Draw a smooth random (H, W) field in [0, 1] with about `cells` bumps along the longer side.

    It upsamples a few numbers: blurring full-resolution noise costs a hundred times as much.
    """
    height, width = shape
    longer = max(height, width)
    rows, columns = (max(2, round(cells * side / longer) + 1) for side in shape)
    coarse = rng.random((rows, columns), dtype=np.float32)
    field: Field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return clip(field)


def luminance(image: Image) -> Field:
    """(H, W, 3) -> (H, W), Rec. 601 weights."""
    gray: Field = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return gray


def grayish(rng: Random, low: float, high: float, cast: float) -> NDArray[np.float32]:
    """Draw a light color (3,): one brightness in [low, high], with channels that differ by about `cast`."""
    return clip(rng.uniform(low, high) + rng.normal(0, cast, 3))
