"""The glance at an upload's first kilobyte, on the loop: it never says anything else than the look at the whole."""

import io
import struct
import zlib

import pytest
from PIL import Image

from service.image_header import GLANCE_FILE_BYTES, glance, look
from service.refusals import TooManyPixels

KINDS = ["jpeg", "png", "webp", "tiff", "avif"]


def noise(kind, size=(128, 96), **options) -> bytes:
    target = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(target, kind, **options)
    return target.getvalue()


def bomb() -> bytes:
    """A PNG of 64 KB whose texts unpack to 60 MB before its first pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    text, data = zlib.compress(bytes(2**20 - 10), 9), b"\x89PNG\r\n\x1a\n"
    data += chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    for index in range(60):
        data += chunk(b"zTXt", b"k%d\0\0" % index + text)
    return data + chunk(b"IDAT", b"")


@pytest.mark.parametrize("size", [(8, 8), (128, 96), (300, 301)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_glance_says_what_a_look_says_or_nothing(kind, size):
    data = noise(kind, size)
    assert glance(data, 50) in (look(data, 50), None)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_small_photo_needs_no_more_than_a_glance(kind):
    assert glance(noise(kind), 50) is not None


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a" + bytes(99), b"no image", noise("jpeg", exif=b"Exif\0\0" + bytes(5000)), bomb()]
)
def test_what_a_kilobyte_does_not_tell_is_left_to_the_look(data):
    assert glance(data, 50) is None


def test_the_sum_over_a_large_file_is_left_to_the_look_too():
    data = noise("png")
    assert glance(data + bytes(GLANCE_FILE_BYTES - len(data)), 50) is not None
    assert glance(data + bytes(GLANCE_FILE_BYTES - len(data) + 1), 50) is None


def test_too_many_pixels_are_seen_at_a_glance():
    with pytest.raises(TooManyPixels):
        glance(noise("png"), 0.01)
