"""A pool of photos: which ones are decoded, and which ones are held out."""

import cv2
import numpy as np

from models.training.data.photos import CropConfig, PhotoPool, decode_into, find_photos


def test_validation_photographs_are_not_trained_on(tmp_path):
    stored = []
    for index in range(5):
        stored.append(tmp_path / f"{index}.npy")
        np.save(stored[-1], np.full((80, 80, 3), index * 50, np.uint8))
    shades = [
        {round(float(pool.crop(np.random.default_rng(i), CropConfig(crop_px=16)).mean() * 255)) for i in range(40)}
        for pool in (PhotoPool(stored, validation=held, hold_out=4) for held in (False, True))
    ]
    assert shades == [{50, 100, 150}, {0, 200}]


def test_unreadable_and_tiny_photos_are_left_out_and_large_ones_shrunk(tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((20, 300, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((100, 400, 3), np.uint8))
    (only,) = decode_into(tmp_path / "cache", find_photos([tmp_path]), longest_px=200)
    assert np.load(only).shape == (50, 200, 3)
