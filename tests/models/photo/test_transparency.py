"""Pixels under alpha 0: they steer nothing, and come back as they were."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from photo_samples import encoded
from PIL import Image

from models.photo.part import prepared
from models.photo.read import Limits, read_photo
from models.photo.transparency import filled, hidden_mask
from models.photo.write import encode_photo

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))).filter(lambda m: m.any() and not m.all())


@given(hidden=MASKS, seed=st.integers(0, 99))
def test_hidden_pixels_become_visible_ones_and_visible_pixels_stay(hidden, seed):
    pixels = np.random.default_rng(seed).integers(1, 256, (*hidden.shape, 3), dtype=np.uint8)
    seen, other = pixels.copy(), pixels.copy()
    seen[hidden], other[hidden] = 0, 255
    out = filled(seen, hidden)
    assert np.array_equal(out[~hidden], pixels[~hidden])
    assert np.array_equal(out, filled(other, hidden)), "what is hidden has no part in it"
    visible = {tuple(color) for color in pixels[~hidden]}
    assert {tuple(color) for color in out[hidden]} <= visible


def test_a_row_is_continued_as_its_mirror_image():
    """The oracle is numpy: symmetric padding of the visible run."""
    row = np.arange(1, 21, dtype=np.uint8)
    shown = np.pad(row, (30, 50), mode="symmetric")
    hidden = np.ones((1, 100), dtype=bool)
    hidden[0, 30:50] = False
    pixels = np.where(hidden, 0, shown).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert np.array_equal(filled(pixels, hidden)[0, :, 1], shown)


def test_noise_in_the_filled_part_is_as_strong_as_in_the_visible_one():
    rng = np.random.default_rng(3)
    pixels = np.clip(128 + rng.normal(0, 20, (96, 128, 3)), 0, 255).astype(np.uint8)
    rows, columns = np.mgrid[:96, :128]
    hidden = ((rows - 48) / 40) ** 2 + ((columns - 64) / 50) ** 2 > 1
    out = filled(np.where(hidden[..., None], 0, pixels).astype(np.uint8), hidden).astype(float)
    steps = np.abs(np.diff(out[..., 0], axis=1))
    assert steps[hidden[:, 1:]].mean() == pytest.approx(steps[~hidden[:, 1:]].mean(), rel=0.15)


def cut_out(under, dtype=np.uint8):
    """An RGBA picture of noise with a visible disc, and `under` where it is transparent."""
    rng = np.random.default_rng(7)
    samples = rng.integers(0, 256, (48, 64, 4)).astype(np.uint8)
    rows, columns = np.mgrid[:48, :64]
    outside = (rows - 24) ** 2 + (columns - 32) ** 2 > 20**2
    samples[..., 3] = np.where(outside, 0, 255)
    samples[outside, :3] = under(rng, (int(outside.sum()), 3))
    return samples, outside


UNDER = {
    "black": lambda rng, shape: np.zeros(shape), "white": lambda rng, shape: np.full(shape, 255),
    "garbage": lambda rng, shape: rng.integers(0, 256, shape),
}  # fmt: skip


@pytest.mark.parametrize("crop", [None, (8, 4, 40, 36)])
@pytest.mark.parametrize("scale", [1, 2])
def test_the_restorer_gets_the_same_pixels_whatever_is_hidden(crop, scale):
    photos = [
        prepared(read_photo(encoded(Image.fromarray(cut_out(under)[0]), "PNG")), crop, scale, Limits())
        for under in UNDER.values()
    ]
    for photo in photos[1:]:
        assert np.array_equal(photo.pixels, photos[0].pixels)
        assert (photo.whole is None) == (crop is None)
        assert photo.whole is None or np.array_equal(photo.whole, photos[0].whole)


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("under", UNDER)
def test_hidden_pixels_of_the_result_are_the_bytes_of_the_input(under, format):
    samples, outside = cut_out(UNDER[under])
    photo = prepared(read_photo(encoded(Image.fromarray(samples), "PNG")), None, 1, Limits())
    restored = replace(photo, pixels=255 - photo.pixels)
    result = read_photo(encode_photo(restored, format))
    assert np.array_equal(result.alpha, samples[..., 3])
    assert np.array_equal(result.pixels[outside], samples[outside][:, :3])
    assert np.array_equal(result.pixels[~outside], 255 - samples[~outside][:, :3])


@pytest.mark.parametrize("level", [8, 255])
def test_pixels_that_shine_through_are_not_filled(level):
    assert hidden_mask(np.full((4, 4), level, np.uint8)) is None
    assert hidden_mask(np.full((4, 4), level * 257, np.uint16)) is None
