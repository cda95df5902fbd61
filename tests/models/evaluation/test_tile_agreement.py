"""Drift and seams against pictures that differ by known steps and ramps."""

import numpy as np
import pytest
from PIL import Image

from models.evaluation.tile_agreement import brightness_drift, seam_jump

SIDE = 256
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float64)


def picture(change=0.0, noise=2.0, seed=0):
    rng = np.random.default_rng(seed)
    scene = 100 + 30 * np.sin(X / 17) + 20 * np.cos(Y / 9) + change
    return np.clip(scene[..., None] + rng.normal(0, noise, (SIDE, SIDE, 3)), 0, 255).round().astype(np.uint8)


def test_equal_pictures_have_neither():
    assert brightness_drift(picture(), picture()) == 0
    assert seam_jump(picture(), picture()) == 0


def test_other_noise_is_neither():
    assert brightness_drift(picture(), picture(seed=1)) < 1
    assert seam_jump(picture(), picture(seed=1)) < 1


def test_a_change_of_the_whole_picture_is_neither():
    assert brightness_drift(picture(12.0), picture()) < 1
    assert seam_jump(picture(12.0), picture()) < 1


@pytest.mark.parametrize("levels", [4.0, -10.0])
@pytest.mark.parametrize("turned", [False, True])
def test_a_brighter_tile_is_found_with_its_levels(levels, turned):
    change = levels * ((X >= 160) if not turned else (Y >= 160))
    assert brightness_drift(picture(change), picture()) == pytest.approx(abs(levels), abs=0.7)
    assert seam_jump(picture(change), picture()) == pytest.approx(abs(levels), abs=1)


def test_a_slow_ramp_is_a_drift_but_no_seam():
    ramp = 20 * (X / SIDE - 0.5)
    assert brightness_drift(picture(ramp), picture()) == pytest.approx(10, abs=1)
    assert seam_jump(picture(ramp), picture()) < 1.5


def test_a_smaller_copy_serves_as_the_reference_of_drift():
    change = 10.0 * ((X < 80) & (Y < 80))
    small = np.asarray(Image.fromarray(picture()).resize((64, 64), Image.Resampling.BOX))
    assert brightness_drift(picture(), small) < 1
    assert brightness_drift(picture(change), small) == pytest.approx(10, abs=1)


def test_pictures_of_other_sizes_have_no_seams_in_common():
    with pytest.raises(ValueError, match="one size"):
        seam_jump(picture(), picture()[:100])
