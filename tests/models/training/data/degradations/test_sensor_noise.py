"""Gaussian and photon noise: their variance, and that Gaussian noise is white."""

import numpy as np
import pytest

from models.training.data.degradations.sensor_noise import gaussian, photons


def test_gaussian_noise_has_the_requested_standard_deviation():
    gray = np.full((256, 256, 3), 0.5, np.float32)
    noise = gaussian(gray, 25 / 255, np.random.default_rng(0)) - gray
    assert noise.std() == pytest.approx(25 / 255, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.001)
    neighbors = np.corrcoef(noise[:, 1:, 0].ravel(), noise[:, :-1, 0].ravel())[0, 1]
    assert abs(neighbors) < 0.02  # white


def test_photon_noise_has_the_variance_of_a_poisson_count():
    for level in (0.1, 0.6):
        noisy = photons(np.full((200, 200, 3), level, np.float32), 100.0, np.random.default_rng(1))
        assert noisy.mean() == pytest.approx(level, rel=0.01)
        assert noisy.var() == pytest.approx(level / 100, rel=0.03)
