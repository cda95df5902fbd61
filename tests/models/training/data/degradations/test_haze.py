"""Haze against the scattering model."""

import numpy as np

from models.training.data.degradations.haze import scatter


def test_haze_obeys_the_scattering_model(picture):
    clean, airlight = picture(), np.array([0.8, 0.85, 0.9], np.float32)
    hazy = scatter(clean, np.full(clean.shape[:2], 0.3, np.float32), airlight)
    np.testing.assert_allclose(hazy, 0.3 * clean + 0.7 * airlight, atol=1e-6)
    clear = scatter(clean, np.ones(clean.shape[:2], np.float32), airlight)
    np.testing.assert_allclose(clear, clean, atol=1e-6)
