"""The photo codec as it runs in its process: a file is refused, or read, and can be written again.

Writing and reading again cost more than reading, so the fuzzer does both with one input of WRITTEN.
"""

import warnings
import zlib

from photo_seeds import small_photos

from models.errors import PhotoError
from models.photo.codec_pool import decode, encode
from models.photo.read import Limits

LIMITS = Limits(pixels=65_536, file_bytes=1 << 20)
WRITTEN = 8


def seeds() -> list[bytes]:
    return small_photos()


def run(data: bytes) -> None:
    """Read an input; the checksum decides whether it is also written, so that an input that failed fails again."""
    check(data, written=zlib.crc32(data) % WRITTEN == 0)


def check(data: bytes, written: bool = True) -> None:
    """Read an input, and write it and read it again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            photo = decode(data, LIMITS, None, 1)
        except (PhotoError, MemoryError):
            return
        height, width = photo.pixels.shape[:2]
        assert 0 < height * width <= LIMITS.pixels
        if not written:
            return
        try:
            file, kind = encode(photo, None, None, None)
        except PhotoError:
            return
        assert decode(file, LIMITS, None, 1).pixels.shape[:2] == (height, width), kind
