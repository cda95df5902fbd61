"""Rounding to the 8-bit grid."""

import numpy as np

from models.training.data.degradations.image_operations import quantize


def test_most_pictures_lie_on_the_8_bit_grid(picture):
    image = picture()
    on_grid = 0
    for seed in range(300):
        levels = quantize(image, np.random.default_rng(seed)) * 255
        on_grid += bool(np.abs(levels - np.rint(levels)).max() < 1e-4)
    assert 0.83 < on_grid / 300 < 0.96


def test_rounding_changes_a_value_by_at_most_half_a_level(picture):
    image = picture()
    assert np.abs(quantize(image, np.random.default_rng(0), probability=1) - image).max() <= 0.5 / 255 + 1e-6
