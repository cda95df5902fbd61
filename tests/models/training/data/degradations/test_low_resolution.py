"""The cubic resize against its definition and against Pillow."""

import numpy as np
import pytest
from PIL import Image as Pillow

from models.training.data.degradations.low_resolution import cubic_taps, resize_cubic


def test_cubic_taps_reproduce_constants_and_slopes():
    taps, weights = cubic_taps(64, 16)
    assert taps.min() >= 0 and taps.max() <= 63
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    ramp = (weights.astype(np.float64) * np.arange(64)[taps]).sum(axis=1)
    np.testing.assert_allclose(ramp[3:-3], (np.arange(16)[3:-3] + 0.5) * 4 - 0.5, atol=1e-4)


@pytest.mark.parametrize("size", [(24, 32), (37, 50), (192, 256)])
def test_the_cubic_resize_agrees_with_pillow_away_from_the_border(size, picture):
    plane = picture(96, 128)[..., 0]
    height, width = size
    theirs = np.asarray(Pillow.fromarray(plane).resize((width, height), Pillow.Resampling.BICUBIC))
    ours = resize_cubic(np.repeat(plane[..., None], 3, axis=2), height, width)[..., 1]
    edge = max(4, height // 16)
    np.testing.assert_allclose(ours[edge:-edge, edge:-edge], theirs[edge:-edge, edge:-edge], atol=2e-5)
