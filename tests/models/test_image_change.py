"""The change of an image, against numpy on its integers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.image_change import UNCHANGED, change_between
from models.pixels import as_image, to_tensor

sides = st.integers(1, 12)


@given(sides, sides, st.integers(0, 999), st.floats(0.05, 1))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_a_change_is_what_numpy_counts(height, width, seed, share):
    draw = np.random.default_rng(seed)
    before, after = draw.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    same = draw.random((height, width)) < 0.4
    after[same] = before[same]
    difference = np.abs(after.astype(float) - before) * share
    change = change_between(as_image(before), to_tensor(after), share)
    assert change.max_levels == pytest.approx(difference.max(), rel=1e-4, abs=1e-3)
    assert change.mean_levels == pytest.approx(difference.mean(), rel=1e-4, abs=1e-3)
    clear = np.abs(difference - 0.5) > 1e-3  # elsewhere the rounding of floats decides
    if clear.all():
        assert change.share == pytest.approx((difference >= 0.5).any(axis=2).mean(), abs=1e-6)


def test_sixteen_bits_count_in_levels_of_8():
    before = np.full((4, 5, 3), 25700, np.uint16)
    after = before.copy()
    after[0, 0, 1] += 257 * 3
    change = change_between(as_image(before), to_tensor(after))
    assert (change.max_levels, change.share) == (pytest.approx(3, rel=1e-3), pytest.approx(1 / 20))


def test_an_image_that_is_returned_is_unchanged():
    image = torch.rand(3, 4, 4)
    assert change_between(image, image) is UNCHANGED
    assert change_between(image, image + 1, 0.0) is UNCHANGED
