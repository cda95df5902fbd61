"""TIFF pages of every depth, compression, layout and color space, written by tifffile."""

import io
import itertools

import imagecodecs
import numpy as np
import pytest
import tifffile
from photo_samples import ALPHA, RGB, RGB16, SRGB
from PIL import Image, UnidentifiedImageError

from models.errors import UnsupportedPhoto
from models.photo.read import read_photo


def tiff(samples, **options) -> bytes:
    target = io.BytesIO()
    tifffile.imwrite(target, samples, metadata=None, **options)
    return target.getvalue()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd", "lzma"])
def test_every_layout_of_rgb_is_read_exactly(depth, compression):
    samples = RGB if depth == 8 else RGB16
    layouts = itertools.product("<>", ["contig", "separate"], [None, (16, 16)], [False, True], [False, True])
    for order, planar, tile, predictor, big in layouts:
        if predictor and compression in (None, "packbits"):
            continue
        stored = samples if planar == "contig" else np.moveaxis(samples, 2, 0)
        data = tiff(
            stored, photometric="rgb", planarconfig=planar, byteorder=order, tile=tile, compression=compression,
            predictor=predictor, bigtiff=big,
        )  # fmt: skip
        np.testing.assert_array_equal(read_photo(data).pixels, samples)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("white", ["minisblack", "miniswhite"])
def test_gray_of_every_depth_is_stretched_to_the_whole_range(bits, white):
    largest = 2**bits - 1
    levels = np.linspace(0, largest, 64).round().astype(np.uint8 if bits <= 8 else np.uint16).reshape(4, 16)
    if bits in (1, 2, 4):
        packed = imagecodecs.packints_encode(levels, bits)
        data = packed_tiff(bytes(packed), bits, white)
    else:
        data = tiff(levels, photometric=white, bitspersample=None if bits in (8, 16) else bits)
    photo = read_photo(data)
    top = 255 if bits <= 8 else 65535
    expected = np.round(levels / largest * top)
    np.testing.assert_array_equal(photo.pixels[..., 0], expected if white == "minisblack" else top - expected)
    assert photo.gray


def packed_tiff(strip, bits, white) -> bytes:
    """A TIFF of 16 x 4 px with packed samples, which tifffile does not write without compression."""
    import struct

    tags = [
        (256, 16), (257, 4), (258, bits), (259, 1), (262, int(white == "minisblack")), (273, 8), (277, 1), (278, 4),
        (279, len(strip)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    strip += bytes(len(strip) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + bytes(4)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_is_kept_and_colors_are_straight(depth, kind):
    largest = 255 if depth == 8 else 65535
    dtype = np.uint8 if depth == 8 else np.uint16
    for colors in (1, 3):
        alpha = np.full((10, 14, 1), round(largest * 0.6))
        stored = np.full((10, 14, colors), round(largest * 0.3))
        data = tiff(
            np.concatenate([stored, alpha], 2).astype(dtype),
            photometric="rgb" if colors == 3 else "minisblack", planarconfig="contig", extrasamples=[kind],
        )  # fmt: skip
        photo = read_photo(data)
        assert photo.gray == (colors == 1)
        assert (photo.alpha == alpha[..., 0]).all()
        straight = 0.3 if kind == "unassalpha" else 0.5
        assert np.abs(photo.pixels.astype(float) / largest - straight).max() < 0.003


def test_a_palette_is_looked_up():
    map16 = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) * 80
    data = tiff(RGB[..., 0], photometric="palette", colormap=map16)
    np.testing.assert_array_equal(read_photo(data).pixels, (map16 >> 8).T[RGB[..., 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int16, np.uint32, np.complex64])
def test_samples_that_are_not_pixels_of_a_photo_are_named(dtype):
    with pytest.raises(UnsupportedPhoto, match=f"{np.dtype(dtype).itemsize * 8}-bit.*samples.*8- or 16-bit RGB"):
        read_photo(tiff(RGB[..., 0].astype(dtype), photometric="minisblack"))


def test_sixteen_bit_cmyk_stays_sixteen_bit():
    inks = np.zeros((4, 4, 4), np.uint16)
    inks[..., 0], inks[..., 3] = 20_000, 10_000
    photo = read_photo(tiff(inks, photometric="separated"))
    paper = 1 - np.array([20_000, 0, 0]) / 65535
    expected = np.round(paper * (1 - 10_000 / 65535) * 65535)
    assert np.abs(photo.pixels[0, 0] - expected).max() <= 1
    assert "CMYK was converted to sRGB" in photo.warnings[0]


def test_a_profile_of_another_color_space_does_not_stop_cmyk():
    photo = read_photo(tiff(np.zeros((4, 4, 4), np.uint16), photometric="separated", iccprofile=SRGB))
    assert "without its color profile" in photo.warnings[0]
    assert photo.icc is None
    assert photo.pixels.min() == 65535


def test_channels_that_are_neither_color_nor_alpha_are_named_as_lost():
    samples = np.dstack([RGB, ALPHA, ALPHA])
    photo = read_photo(
        tiff(samples, photometric="rgb", planarconfig="contig", extrasamples=["unassalpha", "unspecified"])
    )
    np.testing.assert_array_equal(photo.alpha, ALPHA)
    assert photo.losses == ("its further channels",)


def test_a_tiff_that_pillow_cannot_open_keeps_its_profile():
    file = io.BytesIO()
    samples = np.arange(20 * 20 * 2, dtype=np.uint16).reshape(20, 20, 2)
    tifffile.imwrite(
        file, samples, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"], iccprofile=SRGB
    )
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(file.getvalue()))
    assert read_photo(file.getvalue()).icc == SRGB
