"""Underexposure."""

import numpy as np

from models.training.data.degradations.low_light import expose


def test_underexposure_scales_the_display_values(picture):
    clean = picture()
    for seed in range(20):
        dark = expose(clean, np.random.default_rng(seed), 0.1)
        assert dark.mean() < 0.17 * clean.mean()
