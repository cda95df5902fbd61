"""Crops and enlargements, against slices, Pillow and the arithmetic of alpha."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_samples import encoded
from PIL import Image

from models.errors import UnfitControls
from models.photo.metadata import Metadata
from models.photo.part import prepared
from models.photo.read import Limits, Photo, read_photo
from models.training.data.degradations.low_resolution import resize_cubic

LIMITS = Limits()
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def photo_of(dtype=np.uint8, alpha=None, **fields):
    return Photo(pixels=PIXELS.astype(dtype) * (257 if dtype is np.uint16 else 1), alpha=alpha, format="png", **fields)


@given(st.integers(0, 19), st.integers(0, 11), st.integers(1, 20), st.integers(1, 12))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_a_part_is_the_slice_and_what_reaches_beyond_is_refused(x, y, width, height):
    alpha = np.maximum(PIXELS[..., 0], 8)  # nothing is hidden
    if x + width > 20 or y + height > 12:
        with pytest.raises(UnfitControls, match="20 x 12 px"):
            prepared(photo_of(alpha=alpha), (x, y, width, height), 1, LIMITS)
        return
    part = prepared(photo_of(alpha=alpha), (x, y, width, height), 1, LIMITS)
    assert np.array_equal(part.pixels, PIXELS[y : y + height, x : x + width])
    assert np.array_equal(part.alpha, alpha[y : y + height, x : x + width])
    assert (part.whole is None) == ((width, height) == (20, 12))


@pytest.mark.parametrize("crop", [None, (0, 0, 20, 12)])
def test_the_whole_photo_at_scale_1_is_the_photo(crop):
    photo = photo_of()
    assert prepared(photo, crop, 1, LIMITS) is photo


def test_a_crop_counts_pixels_of_the_upright_photo():
    exif = Image.Exif()
    exif[274] = 6  # the stored picture lies on its side
    data = encoded(Image.fromarray(PIXELS), "png", exif=exif.tobytes())
    part = prepared(read_photo(data), (2, 3, 8, 15), 1, LIMITS)
    assert np.array_equal(part.pixels, np.rot90(PIXELS, -1)[3:18, 2:10])


@pytest.mark.parametrize("scale", [2, 4])
def test_an_enlargement_is_keys_cubic_and_16_bits_stay(scale):
    """The oracle is the enlargement that the repair of low resolution was trained on; it has other borders."""
    expected = resize_cubic(PIXELS.astype(np.float32), 12 * scale, 20 * scale).clip(0, 255)
    inner = slice(2 * scale, -2 * scale)
    for dtype, levels in ((np.uint8, 1), (np.uint16, 257)):
        large = prepared(photo_of(dtype), None, scale, LIMITS).pixels
        assert large.dtype == dtype and large.shape == (12 * scale, 20 * scale, 3)
        difference = large[inner, inner] / levels - expected[inner, inner]
        assert np.abs(difference).max() <= 0.51 / levels + 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_constant_stays_constant_and_keeps_its_alpha(dtype):
    level, half = np.iinfo(dtype).max // 3, np.iinfo(dtype).max // 2
    photo = Photo(
        pixels=np.full((6, 7, 3), level, dtype), alpha=np.full((6, 7), half, dtype), format="png",
        metadata=Metadata(dpi=(72.0, 100.0)),
    )  # fmt: skip
    large = prepared(photo, None, 2, LIMITS)
    assert (large.pixels == level).all() and (large.alpha == half).all()
    assert large.pixels.shape == (12, 14, 3) and large.metadata.dpi == (144.0, 200.0)


def test_hidden_colors_do_not_bleed_into_what_is_seen():
    """A red shape on transparent black: every pixel that is seen is red, as in a composition before the enlargement."""
    pixels, alpha = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    pixels[2:6, 2:6, 0], alpha[2:6, 2:6] = 200, 255
    large = prepared(Photo(pixels=pixels, alpha=alpha, format="png"), None, 4, LIMITS)
    seen = large.alpha > 16
    assert seen.any() and (np.abs(large.pixels[seen][:, 0].astype(int) - 200) <= 1).all()


def test_an_enlargement_over_the_limit_is_refused_before_it_is_made():
    with pytest.raises(UnfitControls, match=r"20 x 12 px enlarged by 2 are 40 x 24 = 0.0 megapixels, the limit"):
        prepared(photo_of(), None, 2, Limits(pixels=40 * 24 - 1))
    with pytest.raises(UnfitControls, match="smaller scale"):
        prepared(photo_of(), None, 2, Limits(side_px=39))
    assert prepared(photo_of(), None, 2, Limits(pixels=40 * 24)).pixels.shape == (24, 40, 3)
    assert prepared(photo_of(), (0, 0, 4, 4), 4, Limits(pixels=256)).pixels.shape == (16, 16, 3)
