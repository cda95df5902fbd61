"""Resizing and JPEG against the authors' module."""

import cv2
import numpy as np
import pytest

from models.training.data.wild.resize_and_jpeg import jpeg


@pytest.mark.parametrize("quality", [10, 60, 80, 95])
def test_jpeg_equals_the_published_one(ops, quality):
    found, expected = jpeg(ops["img_bgr"], quality), ops[f"jpeg{quality}"]
    assert np.abs(found - expected).max() <= 2 / 255  # decoders round differently from version to version


@pytest.mark.parametrize("way", ["down", "up"])
@pytest.mark.parametrize(
    ("name", "method"), [("area", cv2.INTER_AREA), ("cubic", cv2.INTER_CUBIC), ("linear", cv2.INTER_LINEAR)]
)
def test_opencv_resizes_like_the_version_of_the_authors(ops, way, name, method):
    expected = ops[f"resize_{way}_{name}"]
    found = cv2.resize(ops["img_bgr"], expected.shape[1::-1], interpolation=method)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
