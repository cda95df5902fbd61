"""The ideal low-pass and the Wiener filter against the authors' module, and against their definition."""

import numpy as np
import pytest

from models.training.data.wild.ringing import sinc_kernel, wiener


@pytest.mark.parametrize("size", range(5, 22, 2))
def test_the_sinc_kernel_equals_the_published_one(ops, size):
    np.testing.assert_allclose(sinc_kernel(1.2, size), ops[f"sinc.{size}.1.2"], rtol=0, atol=1e-14)


def test_wiener_sharpening_equals_the_published_one(ops):
    found = wiener(ops["wiener.in"], ops["wiener.kernel"])
    np.testing.assert_allclose(found, ops["wiener.out"], rtol=0, atol=2e-6)  # a single-precision FFT


def test_the_ideal_low_pass_passes_low_and_stops_high_frequencies():
    kernel = np.zeros((256, 256))
    kernel[:101, :101] = sinc_kernel(1.0, 101)
    response = np.abs(np.fft.fft2(kernel))[0]
    frequency = np.arange(128) * 2 * np.pi / 256
    assert response[:128][frequency < 0.8].min() > 0.85
    assert response[:128][frequency > 1.2].max() < 0.15
