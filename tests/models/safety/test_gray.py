"""A gray picture stays gray."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.pixels import as_image, to_pixels
from models.safety.gray import gray_like, is_gray


def gray(dtype=np.uint8, seed=0, apart=0):
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, 250, (20, 30, 1)).repeat(3, axis=2)
    levels = levels + rng.integers(0, apart + 1, levels.shape)
    return as_image((levels * (257 if dtype is np.uint16 else 1)).astype(dtype))


@given(seed=st.integers(0, 99), deep=st.booleans(), apart=st.integers(0, 1))
def test_the_result_of_a_gray_picture_has_equal_channels(seed, deep, apart):
    dtype = np.uint16 if deep else np.uint8
    result = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    pixels = to_pixels(gray_like(gray(dtype, seed, apart), result), dtype)
    assert (pixels == pixels[..., :1]).all()


def test_the_gray_is_the_mean_of_the_channels():
    result = torch.tensor([0.1, 0.4, -0.2])[:, None, None].expand(3, 20, 30)
    assert gray_like(gray(), result).unique().tolist() == pytest.approx([0.1])


@pytest.mark.parametrize("kind", ["color", "one colored pixel", "dark"])
def test_color_keeps_what_the_repair_made_of_it(kind):
    image = gray(apart=3) if kind == "color" else gray()
    if kind == "one colored pixel":
        image[0, 3, 4] = 255
        image[1, 3, 4] = 200
    if kind == "dark":  # one level is all the color that such a picture has
        image = torch.randint(0, 2, (3, 20, 30), dtype=torch.uint8)
    result = torch.rand(3, 20, 30)
    assert not is_gray(image) and gray_like(image, result) is result


def test_an_untouched_picture_is_the_same_object():
    image = gray()
    assert gray_like(image, image) is image
