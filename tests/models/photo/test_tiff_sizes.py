"""A TIFF cannot make a decoder allocate more than the largest photo needs, whatever its tags and segments declare."""

import asyncio
import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_samples import RGB, RGB16

from models.errors import PhotoError, PhotoTooLarge, UnsupportedPhoto
from models.photo.codec_pool import CodecPool
from models.photo.read import Limits, read_photo
from models.photo.tiff_directories import Tag

LIMITS = Limits(pixels=65_536)
SIZES = {
    "samples": Tag.SAMPLES, "tile width": Tag.TILE_WIDTH, "tile height": Tag.TILE_HEIGHT,
    "rows": Tag.ROWS_PER_STRIP, "depth": Tag.IMAGE_DEPTH, "tile depth": Tag.TILE_DEPTH,
}  # fmt: skip
LAYOUTS = {
    "strips": {}, "tiles": {"tile": (16, 16)}, "deflated tiles": {"tile": (16, 16), "compression": "deflate"},
    "LZW": {"compression": "lzw"}, "planes": {"planarconfig": "separate"},
}  # fmt: skip
FREE = {32990: Tag.IMAGE_DEPTH, 32991: Tag.TILE_DEPTH}
"""Codes that get the meaning of tags which tifffile does not write."""


def tiff(layout="strips", samples=RGB):
    target, options = io.BytesIO(), LAYOUTS[layout]
    stored = np.moveaxis(samples, 2, 0) if "planarconfig" in options else samples
    tifffile.imwrite(
        target,
        stored,
        metadata=None,
        photometric="rgb",
        byteorder="<",
        extratags=[(code, "I", 1, 1, True) for code in FREE],
        **options,
    )
    return target.getvalue()


def with_tags(data, values):
    """Returns a little-endian TIFF whose tags have these values, each a single one of 32 bits."""
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        (code,) = struct.unpack_from("<H", data, place)
        tag = FREE.get(code, code)
        if tag in values:
            struct.pack_into("<HHII", changed, place, tag, 4, 1, values[tag])
    return bytes(changed)


@pytest.fixture(scope="module")
def decoded():
    """Decode in a process of 1.5 GiB; returns the photo, or raises PhotoError, and nothing else."""
    runner, pool = asyncio.Runner(), CodecPool(1, 3 * 2**29, LIMITS, decode_s=20)
    yield lambda data: runner.run(pool.decode(data))
    runner.run(pool.close())
    runner.close()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("samples", [RGB, RGB16], ids=["8 bits", "16 bits"])
def test_a_file_of_this_test_is_read(layout, samples):
    np.testing.assert_array_equal(read_photo(tiff(layout, samples), LIMITS).pixels, samples)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    values=st.dictionaries(
        st.sampled_from(sorted(SIZES)), st.sampled_from([2, 60, 4096, 20_000, 65_535, 2**24, 2**31 - 1, 2**32 - 1]),
        min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_whatever_size_the_tags_declare_a_decoder_needs_no_memory_for_it(decoded, layout, values):
    data = with_tags(tiff(layout), {SIZES[name]: value for name, value in values.items()})
    try:
        decoded(data)
    except PhotoError as error:
        assert "does not fit into memory" not in str(error)


@pytest.mark.parametrize("name", ["samples", "tile width"])
def test_the_error_says_what_the_file_asks_for(name):
    with pytest.raises(PhotoTooLarge, match=r"TIFF tags ask for .* MB of memory .* expected at most 67 MB"):
        read_photo(with_tags(tiff("deflated tiles"), {SIZES[name]: 33_554_356}), LIMITS)


@pytest.mark.parametrize("name", ["depth", "tile depth"])
def test_a_volume_is_no_photo(name):
    with pytest.raises(UnsupportedPhoto, match="layers in depth"):
        read_photo(with_tags(tiff(), {SIZES[name]: 3}), LIMITS)


BLANK = np.zeros((12_000, 12_000, 3), np.uint8)
INSIDE = {
    7: lambda: imagecodecs.jpeg8_encode(BLANK, level=1),
    50001: lambda: imagecodecs.webp_encode(BLANK[:, :12_000], level=1),
}
"""Pictures of 144 megapixels, and of some kilobytes, as a strip may hold by its compression."""


@pytest.mark.parametrize("compression", INSIDE)
def test_a_picture_inside_a_strip_may_not_be_larger_than_a_photo(decoded, compression):
    inside = INSIDE[compression]()
    data = tiff()
    changed = with_tags(
        data + inside,
        {Tag.COMPRESSION: compression, Tag.STRIP_OFFSETS: len(data), Tag.STRIP_BYTES: len(inside)},
    )
    with pytest.raises(PhotoTooLarge):
        decoded(changed)


def test_a_small_picture_in_one_large_tile_is_read(decoded):
    target = io.BytesIO()
    tifffile.imwrite(target, RGB16, photometric="rgb", metadata=None, tile=(2048, 2048), compression="deflate")
    np.testing.assert_array_equal(decoded(target.getvalue()).pixels, RGB16)
