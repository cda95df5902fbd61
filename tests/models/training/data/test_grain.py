"""The measured grain of a photo against noise of a known strength."""

import cv2
import numpy as np
import pytest

from models.training.data.grain import grain
from models.training.data.photos import CropConfig, PhotoPool


def scene(side=480, seed=0):
    """Smooth shapes and slopes: no grain."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.random((6, 6, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return 90 + 60 * np.clip(blobs, 0, 1)


def as_photo(picture):
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def noisy(sigma, seed=1):
    rng = np.random.default_rng(seed)
    return as_photo(scene() + rng.normal(0, sigma, scene().shape))


def test_a_smooth_picture_has_almost_no_grain():
    assert grain(as_photo(scene())) < 0.6


@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0])
def test_white_noise_counts_1_5_times(sigma):
    """The mean of three independent channels has sigma / sqrt(3)."""
    assert grain(noisy(sigma)) == pytest.approx(1.5 * sigma / np.sqrt(3), rel=0.15)


def test_color_blotches_count_at_constant_brightness():
    rng = np.random.default_rng(2)
    blotches = cv2.GaussianBlur(rng.normal(0, 1, (480, 480)), (0, 0), 2.5)
    blotches *= 3 / blotches.std()
    picture = scene() + np.stack([blotches, -blotches, np.zeros_like(blotches)], axis=2)
    assert grain(as_photo(picture)) > 2.5


def test_texture_beside_a_flat_wall_does_not_count():
    picture = scene()
    rng = np.random.default_rng(3)
    picture[:, :240] += rng.normal(0, 25, (480, 240, 1))
    assert grain(as_photo(picture)) < 0.8


def test_a_tiny_photo_is_measured():
    assert np.isfinite(grain(noisy(3.0)[:70, :64]))


def crops(tmp_path, photo, config, count=12):
    path = tmp_path / "photo.npy"
    np.save(path, photo)
    pool, rng = PhotoPool([path], validation=False), np.random.default_rng(0)
    return [pool.crop(rng, config) for _ in range(count)]


def test_crops_of_a_grainy_photo_are_shrunk_below_the_limit(tmp_path):
    loud = crops(tmp_path, noisy(6.0), CropConfig(crop_px=96, shrink=(0.9, 1.0)))
    quiet = crops(tmp_path, noisy(6.0), CropConfig(crop_px=96, shrink=(0.9, 1.0), max_grain=1.0))

    def residue(found):
        return np.mean([np.std(crop - cv2.GaussianBlur(crop, (0, 0), 1.5)) for crop in found])

    assert residue(quiet) < 0.5 * residue(loud)


def test_crops_of_a_smooth_photo_do_not_change(tmp_path):
    photo = as_photo(scene())
    config = CropConfig(crop_px=64, shrink=(0.4, 1.0))
    for a, b in zip(
        crops(tmp_path, photo, config), crops(tmp_path, photo, CropConfig(crop_px=64, max_grain=1.0)), strict=True
    ):
        assert np.array_equal(a, b)
