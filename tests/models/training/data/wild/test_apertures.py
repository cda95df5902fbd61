"""Kernels with hard edges against the authors' module, and against their definition."""

import numpy as np
import pytest

from models.training.data.wild.apertures import box_kernel, defocus_kernel, line_kernel


@pytest.mark.parametrize("size", range(5, 22, 2))
def test_every_line_through_the_center_equals_the_published_one(ops, size):
    lines = np.stack([line_kernel(size, index) for index in range(2 * size - 2)])
    np.testing.assert_array_equal(lines, ops[f"line_all.{size}"])


def test_the_disk_has_the_area_of_a_circle_and_the_box_is_uniform():
    assert np.count_nonzero(defocus_kernel(101)) == pytest.approx(np.pi * 51**2, rel=0.02)
    assert np.unique(box_kernel(9)).size == 1
