"""Conversion between pixels and tensors, and padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import pixels as conversion
from models.pixels import (
    as_image,
    floats,
    is_finite,
    mix,
    newly_black_share,
    pad_to_multiple,
    to_pixels,
    to_tensor,
)

sides = st.integers(1, 90)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_survives_conversion_to_a_tensor_and_back(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    pixels = np.stack([values, values[::-1], np.roll(values, 1)], axis=-1).reshape(16, -1, 3)
    back = to_pixels(to_tensor(pixels), dtype)
    assert back.dtype == dtype
    assert np.array_equal(back, pixels)


def test_a_tensor_is_x_over_127_5_minus_1():
    tensor = to_tensor(np.array([[[0, 51, 255]]], dtype=np.uint8))
    assert tensor.shape == (3, 1, 1)
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, -0.6, 1.0]))


def test_pixels_are_clamped_and_rounded_or_truncated():
    image = torch.tensor([-3.0, 0.999, 7.0]).view(3, 1, 1)  # 0.999 is 254.87
    assert to_pixels(image).flatten().tolist() == [0, 255, 255]
    assert to_pixels(image, truncate=True).flatten().tolist() == [0, 254, 255]
    assert image.flatten().tolist() == pytest.approx([-3.0, 0.999, 7.0]), "the input is unchanged"


@given(
    height=sides, width=sides, multiple=st.sampled_from([1, 8, 16, 64]), mode=st.sampled_from(["constant", "reflect"])
)
@settings(max_examples=60, deadline=None)
def test_padding_reaches_the_multiple_and_keeps_the_image(height, width, multiple, mode):
    x = torch.rand(1, 3, height, width)
    padded = pad_to_multiple(x, multiple, mode)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple
    assert padded.shape[-1] - width < multiple
    assert torch.equal(padded[..., :height, :width], x)


def test_constant_padding_is_zero_and_reflection_mirrors():
    x = torch.arange(1.0, 7.0).view(1, 1, 1, 6)
    assert pad_to_multiple(x, 8)[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 0, 0]
    assert pad_to_multiple(x.expand(1, 1, 8, 6), 8, "reflect")[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 5, 4]


def test_only_pixels_that_become_black_count_as_newly_black():
    before, after = torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)
    before[:, 0, 0] = after[:, 0, 0] = -1  # black before and after
    after[1, 0, 1] = -0.98  # one channel becomes black
    after[:, 1, 0] = -0.96  # dark, but not black
    assert newly_black_share(before, after) == 0.25


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(height=sides, width=sides, seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_integers_and_their_floats_give_the_same_answers(dtype, height, width, seed):
    """The oracle is the published formula, x / 127.5 - 1, in numpy's float32."""
    draw, largest = np.random.default_rng(seed), np.iinfo(dtype).max
    one, two = draw.integers(0, largest, (2, height, width, 3), dtype=dtype, endpoint=True)
    image, values = as_image(one), one.astype(np.float32).transpose(2, 0, 1) * np.float32(2 / largest) - np.float32(1)
    assert image.dtype == getattr(torch, np.dtype(dtype).name)
    assert np.array_equal(floats(image).numpy(), values)
    assert np.array_equal(to_pixels(image, dtype), one)
    after = to_tensor(two)
    assert newly_black_share(image, after) == newly_black_share(torch.from_numpy(values), after)
    assert torch.equal(mix(image, after, 0.3), torch.lerp(torch.from_numpy(values), after, 0.3))


def test_pixels_that_may_not_be_written_or_lie_in_another_order_are_taken():
    """Pillow returns arrays of the first kind, a turned picture is one of the second."""
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    locked = pixels.copy()
    locked.flags.writeable = False
    assert np.array_equal(to_pixels(as_image(locked)), pixels)
    assert np.array_equal(to_pixels(as_image(pixels[::-1])), pixels[::-1])


@given(height=sides, width=sides, strip_px=st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_strips_change_nothing(height, width, strip_px):
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height)) * 2.2 - 1.1
    expected = np.round((image.numpy().clip(-1, 1) + 1) / 2 * np.float32(255)).astype(np.uint8).transpose(1, 2, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "STRIP_PX", strip_px)
        assert np.abs(to_pixels(image).astype(int) - expected.astype(int)).max() <= 1
        whole = to_pixels(image)
        assert bool(is_finite(image))
        image[2, height - 1, width - 1] = float("inf")
        assert not bool(is_finite(image))
    image[2, height - 1, width - 1] = 1
    assert np.array_equal(to_pixels(image)[:-1], whole[:-1])
