"""Format and size from the header, and the agreement of a peek at the first kilobyte with the whole header."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from service.image_header import PEEK_FILE_BYTES, peek_header, read_header, sniff_format
from service.upload_refusals import NotAnImage, TooManyPixels, UnsupportedFormat

FORMATS = ["jpeg", "png", "webp", "tiff", "avif"]


def noise(format, size=(128, 96), **options) -> bytes:
    target = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(target, format, **options)
    return target.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb() -> bytes:
    """A PNG of 64 KB whose texts unpack to 60 MB before its first pixel."""
    text = zlib.compress(bytes(2**20 - 10), 9)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    for index in range(60):
        data += png_chunk(b"zTXt", b"k%d\0\0" % index + text)
    return data + png_chunk(b"IDAT", b"")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_recognized(picture, format):
    header = read_header(picture(format, size=(30, 20)), 50)
    assert (header.format, header.width_px, header.height_px) == (format, 30, 20)


@pytest.mark.parametrize("format", FORMATS)
def test_the_format_of_a_stored_image_is_known_by_its_signature(picture, format):
    assert sniff_format(picture(format)) == format


def test_nothing_is_decoded():
    """A PNG header without pixel data is accepted; the worker's decoder refuses it later."""
    header = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5_000, 5_000, 8, 2, 0, 0, 0))
    assert read_header(header + struct.pack(">I", 900) + b"IDAT", 50).width_px == 5_000


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow warns of damaged EXIF; server.py silences it
def test_headers_with_flipped_bytes_are_refused_or_read_but_never_crash(picture):
    for format in FORMATS:
        good = picture(format)
        for position in range(0, min(len(good), 120), 3):
            bad = good[:position] + bytes([good[position] ^ 0xFF]) + good[position + 1 :]
            try:
                read_header(bad, 50)
            except (NotAnImage, TooManyPixels):
                continue


@pytest.mark.parametrize("size", [(8, 8), (128, 96), (300, 301)])
@pytest.mark.parametrize("format", FORMATS)
def test_a_peek_returns_the_whole_header_or_nothing(format, size):
    data = noise(format, size)
    assert peek_header(data, 50) in (read_header(data, 50), None)


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_a_peek_is_enough_for_a_small_photo(format):
    assert peek_header(noise(format), 50) is not None


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a" + bytes(99), b"no image", noise("jpeg", exif=b"Exif\0\0" + bytes(5000)), bomb()]
)
def test_a_peek_returns_nothing_if_a_kilobyte_is_not_enough(data):
    assert peek_header(data, 50) is None


def test_a_peek_does_not_hash_a_large_file_on_the_event_loop():
    data = noise("png")
    assert peek_header(data + bytes(PEEK_FILE_BYTES - len(data)), 50) is not None
    assert peek_header(data + bytes(PEEK_FILE_BYTES - len(data) + 1), 50) is None


def test_a_peek_refuses_too_many_pixels():
    with pytest.raises(TooManyPixels):
        peek_header(noise("png"), 0.01)


def raw() -> bytes:
    """The start of a TIFF with a DNG version."""
    entries = ((256, 4, 1, 8), (257, 4, 1, 8), (50706, 1, 4, 0x0401))
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4)


def pages() -> bytes:
    target, page = io.BytesIO(), Image.new("RGB", (8, 8))
    page.save(target, "tiff", save_all=True, append_images=[page])
    return target.getvalue()


def scans() -> bytes:
    data = noise("jpeg", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * 100 + data[-2:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (raw(), "DNG raw"), (b"\0\0\0\x18ftypcrx " + bytes(99), "Canon raw"), (pages(), "2 pages"), (scans(), "scans"),
        (noise("jpeg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "12-bit JPEG"),
    ],
)  # fmt: skip
def test_what_is_not_a_single_photo_is_refused_on_upload(data, words):
    with pytest.raises(UnsupportedFormat, match=words):
        read_header(data, 50)
    with pytest.raises(UnsupportedFormat, match=words):
        if peek_header(data, 50) is None:
            read_header(data, 50)


def test_a_tiff_that_pillow_does_not_know_is_accepted():
    import tifffile

    target = io.BytesIO()
    tifffile.imwrite(target, np.zeros((20, 30, 2), np.uint16), photometric="minisblack", extrasamples=["unassalpha"])
    assert read_header(target.getvalue(), 50).width_px == 30
    with pytest.raises(TooManyPixels):
        read_header(target.getvalue(), 0.0001)
