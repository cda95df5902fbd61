"""Images of any form become files that other programs read."""

import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from undegrade_client import InputError
from undegrade_client.images import read_image

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.sampled_from([size, *((*size, channels) for channels in (1, 2, 3, 4))])
)


@given(st.sampled_from(["uint8", "uint16", ">u2"]).flatmap(lambda kind: arrays.arrays(kind, SHAPES)))
def test_an_array_becomes_a_png_with_the_same_samples(array):
    decoded = imagecodecs.png_decode(read_image(array).data)
    np.testing.assert_array_equal(decoded.reshape(array.shape), array)
    assert decoded.dtype.itemsize == array.dtype.itemsize


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I;16"]
)
def test_an_image_of_pillow_becomes_a_png_that_looks_the_same(mode):
    image = Image.new("L", (5, 4), 200).convert(mode) if mode not in ("I;16", "LAB") else Image.new(mode, (5, 4), 200)
    with Image.open(io.BytesIO(read_image(image).data)) as sent:
        assert sent.format == "PNG" and sent.size == (5, 4)
        assert sent.mode == mode if mode in ("1", "L", "LA", "RGB", "RGBA", "I;16") else sent.mode in ("RGB", "RGBA")


def test_a_string_is_a_path_or_a_url():
    assert read_image("HTTPS://example.com/a.jpg").url == "HTTPS://example.com/a.jpg"
    with pytest.raises(InputError, match="cannot read"):
        read_image("httpx.jpg")


@pytest.mark.parametrize("wrong", [
    np.zeros((2, 2)), np.zeros((2, 2, 5), np.uint8), np.zeros((0, 2), np.uint8), np.zeros(3, np.uint8),
    np.zeros((2, 2), np.int64), None, 1.5, b"", io.StringIO("a"), io.BytesIO(b""),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_what_is_no_image_is_refused_in_words(wrong):
    with pytest.raises(InputError, match=r"expected|rb"):
        read_image(wrong)
