"""The photo codec as it runs in its process: a file is refused, or read, and can be written again."""

import warnings

from photo_seeds import small_photos

from models.errors import PhotoError
from models.photo.codec_pool import decode, encode
from models.photo.read import Limits

LIMITS = Limits(pixels=250_000, file_bytes=1 << 20)


def seeds() -> list[bytes]:
    return small_photos()


def run(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            photo = decode(data, LIMITS, None, 1)
        except (PhotoError, MemoryError):
            return
        height, width = photo.pixels.shape[:2]
        assert 0 < height * width <= LIMITS.pixels
        try:
            written, kind = encode(photo, None, None, None)
        except PhotoError:
            return
        assert decode(written, LIMITS, None, 1).pixels.shape[:2] == (height, width), kind
