"""A picture to degrade."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest

from models.psnr import psnr as psnr_of
from models.training.data.degradations.image_operations import Image


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image]:
    """Draws blobs, edges and some texture, (H, W, 3) in [0, 1] with mean about 0.45."""

    def draw(height: int = 96, width: int = 80, seed: int = 0) -> Image:
        rng = np.random.default_rng(seed)
        image = cv2.resize(rng.random((6, 5, 3), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        image = np.ascontiguousarray(image * 0.7 + 0.1)
        for _ in range(12):
            x, y, size = (int(v) for v in rng.integers(0, min(height, width), 3))
            cv2.rectangle(image, (x, y), (x + size // 3, y + size // 4), rng.random(3).tolist(), -1)
        return np.clip(image + 0.04 * rng.standard_normal(image.shape, dtype=np.float32), 0, 1).astype(np.float32)

    return draw


@pytest.fixture(scope="session")
def psnr() -> Callable[[Image, Image], float]:
    """Computes the PSNR in dB of two pictures in [0, 1]."""
    return partial(psnr_of, peak=1)


@pytest.fixture(scope="session")
def waves() -> Image:
    """A smooth picture (96, 128, 3) without black and white."""
    rows, columns = np.mgrid[:96, :128]
    base = 0.55 + 0.15 * np.sin(rows / 5) + 0.15 * np.cos(columns / 7)
    return np.stack([base, 0.9 * base, 0.8 * base], axis=-1).astype(np.float32)
