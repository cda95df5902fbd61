"""Files with 16 bits a sample, written by Pillow, tifffile and imagecodecs."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from photo_samples import ALPHA16, RGB16, decoded, encoded
from PIL import Image

from models.photo.read import Photo, read_photo
from models.photo.write import conversion_warnings, encode_photo


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("alpha", [None, ALPHA16], ids=["opaque", "alpha"])
def test_sixteen_bit_samples_survive_exactly(kind, alpha):
    samples = RGB16 if alpha is None else np.dstack([RGB16, alpha])
    if kind == "png":
        data = imagecodecs.png_encode(samples)
    else:
        target = io.BytesIO()
        tifffile.imwrite(target, samples, photometric="rgb", extrasamples=[] if alpha is None else ["unassalpha"])
        data = target.getvalue()
    photo = read_photo(data)
    assert photo.sixteen_bit
    again = encode_photo(photo)
    decoded = imagecodecs.png_decode(again) if kind == "png" else tifffile.imread(io.BytesIO(again))
    np.testing.assert_array_equal(decoded, samples)
    np.testing.assert_array_equal(read_photo(again).pixels, RGB16)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bit_gray_survives_exactly(kind):
    photo = read_photo(encoded(Image.fromarray(RGB16[..., 0]), kind))
    assert photo.gray
    again = decoded(encode_photo(photo))
    assert again.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(again), RGB16[..., 0])


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_tiffs_are_read_in_both_byte_orders_and_planar_layouts(order, planar):
    target = io.BytesIO()
    samples = RGB16 if planar == "contig" else np.moveaxis(RGB16, 2, 0)
    tifffile.imwrite(target, samples, photometric="rgb", planarconfig=planar, byteorder=order, compression="lzw")
    np.testing.assert_array_equal(read_photo(target.getvalue()).pixels, RGB16)


def test_a_tiff_whose_zero_is_white_is_inverted():
    target = io.BytesIO()
    tifffile.imwrite(target, RGB16[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(target.getvalue()).pixels[..., 0], 65535 - RGB16[..., 0])


def test_premultiplied_alpha_is_divided_out():
    target = io.BytesIO()
    pixel = np.array([[[20000, 10000, 0, 40000]]], np.uint16)
    tifffile.imwrite(target, pixel, photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(target.getvalue())
    assert photo.pixels[0, 0].tolist() == [round(20000 * 65535 / 40000), round(10000 * 65535 / 40000), 0]
    assert photo.alpha[0, 0] == 40000


def test_sixteen_bit_samples_are_rounded_in_eight_bit_formats_with_a_warning():
    photo = Photo(pixels=np.full((4, 4, 3), 257 * 100 + 128, np.uint16), format="png")
    assert np.asarray(decoded(encode_photo(photo, "webp"))).shape == (4, 4, 3)
    assert read_photo(encode_photo(photo, "webp", 100)).pixels[0, 0, 0] in (99, 100, 101)
    assert conversion_warnings(photo, "webp") == ("WEBP is written with 8 bits a sample: rounded from 16",)
