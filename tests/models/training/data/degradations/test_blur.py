"""Blur kernels and camera motion."""

import numpy as np
import pytest

from models.training.data.degradations.blur import camera_motion, convolve, disk_kernel, motion_kernel


@pytest.mark.parametrize("length_px", [4, 11, 32])
def test_motion_kernels_sum_to_one_and_are_not_longer_than_the_motion(length_px):
    for seed in range(10):
        kernel = motion_kernel(np.random.default_rng(seed), length_px)
        assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.min() >= 0
        assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
        rows, columns = np.nonzero(kernel)
        assert np.hypot(np.ptp(rows), np.ptp(columns)) <= length_px + 3


def test_a_disk_kernel_sums_to_one_and_has_the_variance_of_a_disk():
    kernel = disk_kernel(5.0)
    axis = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    spread = (kernel * (axis[:, None] ** 2 + axis[None, :] ** 2)).sum()
    assert spread == pytest.approx(5.0**2 / 2, rel=0.05)  # the second moment of a uniform disk


def test_blur_does_not_change_a_flat_picture_or_the_total_light():
    flat = np.full((48, 48, 3), 0.4, np.float32)
    spot = np.zeros((129, 129, 3), np.float32)
    spot[64, 64] = 1
    for seed in range(8):
        rng = np.random.default_rng(seed)
        kernel = motion_kernel(rng, 15)
        np.testing.assert_allclose(convolve(flat, kernel), flat, atol=1e-5)
        np.testing.assert_allclose(camera_motion(flat, rng), flat, atol=1e-5)
        assert convolve(spot, kernel).sum() == pytest.approx(3, rel=1e-4)
