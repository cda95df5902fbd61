"""JPEG compression with libjpeg: mostly 4:2:0, sometimes twice with a shifted block grid."""

import cv2
import numpy as np

from models.training.data.degradations.image_operations import Image, Random, as_bytes, from_bytes, log_uniform

SAMPLING_420 = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
SAMPLING_444 = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444


def jpeg(clean: Image, rng: Random) -> Image:
    """Compress once at quality 5..60, or twice with a shifted 8x8 grid, like a picture that was cropped and saved."""
    once = _compress_shifted(clean, rng) if rng.random() < 0.3 else compress(clean, _quality(rng), _sampling(rng))
    return compress(once, _quality(rng, 20, 80), _sampling(rng)) if rng.random() < 0.15 else once


def _quality(rng: Random, low: int = 5, high: int = 60) -> int:
    return round(log_uniform(rng, low, high))


def _sampling(rng: Random) -> int:
    return int(SAMPLING_420 if rng.random() < 0.8 else SAMPLING_444)


def compress(image: Image, quality: int, sampling: int = SAMPLING_420) -> Image:
    """Encode and decode; the result is on the 8-bit grid."""
    bgr = cv2.cvtColor(as_bytes(image), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, encoded = cv2.imencode(".jpg", bgr, options)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    assert decoded is not None  # these bytes were encoded one line above
    return from_bytes(decoded)


def _compress_shifted(image: Image, rng: Random) -> Image:
    """Compress with a random block grid: a tile or a crop of a large photo does not start at a block."""
    top, left = (int(shift) for shift in rng.integers(0, 16, 2))
    padded = cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REFLECT_101)
    return np.ascontiguousarray(compress(padded, _quality(rng), _sampling(rng))[top:, left:])
