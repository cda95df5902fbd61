"""What an upload is, from its header alone: nothing is decoded here."""

import hashlib
import io
import struct
from dataclasses import dataclass
from typing import cast

from PIL import Image, UnidentifiedImageError

from jobs.spec import Format
from models.photo.read import Limits as PhotoLimits
from service.refusals import NotAnImage, TooLarge, TooManyPixels, UnsupportedFormat

FORMATS: dict[str, Format] = {
    "JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff", "AVIF": "avif",
}  # fmt: skip
"""Pillow's names of what is read, and ours.  No other of its many parsers ever sees an upload."""
READ = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
"""The parsers; MPO, a camera's JPEG with further pictures, is what JPEG's may find."""
MEDIA_TYPES: dict[Format, str] = {kind: f"image/{kind}" for kind in FORMATS.values()}
MOST_SIDE_PX = PhotoLimits().side_px
GLANCE_BYTES, GLANCE_FILE_BYTES = 1024, 256 * 1024

_SIGNATURES = (
    (b"GIF8", "a GIF"), (b"BM", "a BMP"), (b"\0\0\1\0", "an icon"), (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL"), (b"\0\0\0\x0cJXL ", "a JPEG XL"), (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"%PDF", "a PDF"), (b"<svg", "an SVG"),
)  # fmt: skip
_HEIC = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, RuntimeError, LookupError, TypeError,
           ArithmeticError, AttributeError, MemoryError)  # fmt: skip
"""All that header parsers were seen to raise on bytes that were flipped or cut off."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An upload's vital statistics."""

    format: Format
    width_px: int
    height_px: int
    bytes: int
    sha256: str


def glance(data: bytes, most_megapixels: float) -> Seen | None:
    """What the first kilobyte says, if the file is small and so is its header; None: take a `look`.

    It may be called on the loop: no kilobyte keeps a parser busy for long, while a header of 64 KB can be made that
    takes 170 ms (texts packed into a PNG).
    """
    if len(data) > GLANCE_FILE_BYTES:
        return None
    try:
        header = _header(data[:GLANCE_BYTES])
    except (NotAnImage, UnsupportedFormat, TooManyPixels):  # `look` says it with the whole file before it
        return None
    return _seen(data, header, most_megapixels)


def look(data: bytes, most_megapixels: float) -> Seen:
    """What the header says; takes a few milliseconds, so call it in a thread.

    Raises:
        NotAnImage: no image, or one in a format that is not read.
        TooManyPixels: over the limit.
    """
    if not data:
        raise NotAnImage("the image is empty (0 bytes)")
    return _seen(data, _header(data), most_megapixels)


def _seen(data: bytes, header: tuple[Format, tuple[int, int]], most_megapixels: float) -> Seen:
    kind, (width, height) = header
    megapixels = width * height / 1e6
    if megapixels > most_megapixels or max(width, height) > MOST_SIDE_PX:
        raise TooManyPixels(
            f"the image has {width} x {height} = {megapixels:.1f} megapixels, "
            f"the limit is {most_megapixels:g} (and {MOST_SIDE_PX} px a side)"
        )
    return Seen(format=kind, width_px=width, height_px=height, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def check_bytes(count: int, most_bytes: int) -> None:
    """Raises TooLarge beyond the limit."""
    if count > most_bytes:
        raise TooLarge(f"the image has {count:,} bytes or more, the limit is {most_bytes:,}")


def _header(data: bytes) -> tuple[Format, tuple[int, int]]:
    try:
        with Image.open(io.BytesIO(data), formats=READ) as image:
            return FORMATS[str(image.format)], image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(f"the image has more megapixels than can be decoded safely: {error}") from error
    except UnidentifiedImageError as error:
        if name := _other_format(data):
            raise UnsupportedFormat(f"the image is {name}") from error
        raise NotAnImage(f"these {len(data):,} bytes are no image that can be read") from error
    except _DAMAGE as error:
        raise NotAnImage(f"the image's header is damaged ({error or type(error).__name__})") from error


def format_of(data: bytes) -> Format:
    """The format of a picture of ours, by its signature."""
    signatures = ((b"\xff\xd8", "jpeg"), (b"\x89PNG", "png"), (b"RIFF", "webp"), (b"II", "tiff"), (b"MM", "tiff"))
    return cast(Format, next((kind for sign, kind in signatures if data.startswith(sign)), "avif"))


def _other_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return "a HEIC photo: export it as JPEG"
    return next((name for sign, name in _SIGNATURES if data.startswith(sign)), None)
