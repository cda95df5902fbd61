"""Reads format and size of an upload from its header.  Nothing is decoded here."""

import asyncio
import hashlib
import io
from dataclasses import dataclass
from typing import cast

from PIL import Image, UnidentifiedImageError

from jobs.spec import Format
from models.errors import PhotoError, UnsupportedPhoto
from models.photo.content import check_kind
from models.photo.decoder_errors import DECODER_ERRORS, HEIC_BRANDS
from models.photo.read import Limits as PhotoLimits
from models.photo.tiff_directories import Directory
from service.upload_refusals import NotAnImage, TooLarge, TooManyPixels, UnsupportedFormat

FORMATS: dict[str, Format] = {
    "JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff", "AVIF": "avif",
}  # fmt: skip
"""Pillow's format names and ours.  MPO is a camera's JPEG file with more than one image."""
PARSERS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
"""The only Pillow parsers that an upload reaches.  The JPEG parser also detects MPO."""
MEDIA_TYPES: dict[Format, str] = {format: f"image/{format}" for format in FORMATS.values()}
MAX_SIDE_PX = PhotoLimits().side_px
SIGNATURE_BYTES = 16
"""Enough for `sniff_format`."""
PEEK_BYTES, PEEK_FILE_BYTES = 1024, 256 * 1024

_OTHER_SIGNATURES = (
    (b"GIF8", "a GIF"), (b"BM", "a BMP"), (b"\0\0\1\0", "an icon"), (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL"), (b"\0\0\0\x0cJXL ", "a JPEG XL"), (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"%PDF", "a PDF"), (b"<svg", "an SVG"),
)  # fmt: skip

_PARSER_ERRORS = (*DECODER_ERRORS, MemoryError)
"""Every error type that Pillow's header parsers raised in tests on flipped and truncated bytes."""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What is known of an upload before it is decoded."""

    format: Format
    width_px: int
    height_px: int
    bytes: int
    sha256: str


async def inspect_image(data: bytes, max_megapixels: float) -> ImageHeader:
    """Return the header of an upload; parse it in a thread unless the first kilobyte is enough.

    Raises:
        NotAnImage, UnsupportedFormat, TooManyPixels: as `read_header`.
    """
    if header := peek_header(data, max_megapixels):
        return header
    return await asyncio.to_thread(read_header, data, max_megapixels)


def peek_header(data: bytes, max_megapixels: float) -> ImageHeader | None:
    """Return the header of a small file if its first kilobyte contains it; None means: call `read_header`.

    This is safe on the event loop, since no parser spends long on a kilobyte.  A crafted header of 64 KB (compressed
    texts in a PNG) takes 170 ms.
    """
    if len(data) > PEEK_FILE_BYTES:
        return None
    try:
        format, size = _parse(data[:PEEK_BYTES])
        if format == "tiff":  # its first directory can be a raw file's preview
            return None
        _check_kind(data)
    except (NotAnImage, TooManyPixels):  # `read_header` parses the whole file and raises the final refusal
        return None
    return _checked_header(data, format, size, max_megapixels)


def read_header(data: bytes, max_megapixels: float) -> ImageHeader:
    """Return the header of an upload.  This takes a few milliseconds, so call it in a thread.

    Raises:
        NotAnImage: the data are not an image.
        UnsupportedFormat: the data are an image of a kind that is not restored: another format, a camera raw, pages.
        TooManyPixels: the image is over the limit.
    """
    if not data:
        raise NotAnImage("the image is empty (0 bytes)")
    tiff = _check_kind(data)
    if tiff:  # Pillow does not know all TIFFs that are restored
        return _checked_header(data, "tiff", tiff.size, max_megapixels)
    format, size = _parse(data)
    return _checked_header(data, format, size, max_megapixels)


def _check_kind(data: bytes) -> Directory | None:
    """Refuse camera raw files, several pages and the like; damaged files are left to the worker's decoder."""
    try:
        return check_kind(data, "the image")
    except UnsupportedPhoto as error:
        raise UnsupportedFormat(str(error)) from error
    except PhotoError:
        return None


def _checked_header(data: bytes, format: Format, size: tuple[int, int], max_megapixels: float) -> ImageHeader:
    width, height = size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels or max(size) > MAX_SIDE_PX:
        raise TooManyPixels(
            f"the image has {width} x {height} = {megapixels:.1f} megapixels, "
            f"the limit is {max_megapixels:g} (and {MAX_SIDE_PX} px a side)"
        )
    return ImageHeader(
        format=format, width_px=width, height_px=height, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )


def check_bytes(count: int, max_bytes: int) -> None:
    """Raise TooLarge if an image has more bytes than the limit."""
    if count > max_bytes:
        raise TooLarge(f"the image has {count:,} bytes or more, the limit is {max_bytes:,}")


def _parse(data: bytes) -> tuple[Format, tuple[int, int]]:
    try:
        with Image.open(io.BytesIO(data), formats=PARSERS) as image:
            return FORMATS[str(image.format)], image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(f"the image has more megapixels than can be decoded safely: {error}") from error
    except UnidentifiedImageError as error:
        if name := _unsupported_format(data):
            raise UnsupportedFormat(f"the image is {name}") from error
        raise NotAnImage(f"these {len(data):,} bytes are not an image") from error
    except _PARSER_ERRORS as error:
        raise NotAnImage(f"the image's header is damaged ({error or type(error).__name__})") from error


def sniff_format(data: bytes) -> Format:
    """Return the format of an image that our worker wrote, by its signature."""
    signatures = ((b"\xff\xd8", "jpeg"), (b"\x89PNG", "png"), (b"RIFF", "webp"), (b"II", "tiff"), (b"MM", "tiff"))
    return cast(Format, next((format for sign, format in signatures if data.startswith(sign)), "avif"))


def _unsupported_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return "a HEIC photo: export it as JPEG"
    return next((name for sign, name in _OTHER_SIGNATURES if data.startswith(sign)), None)
