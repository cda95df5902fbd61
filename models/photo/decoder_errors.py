"""Turns the exceptions of image decoders into one sentence for the user."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from models.errors import PhotoError, PhotoTooLarge

SUPPORTED = "JPEG, PNG, WebP, TIFF or AVIF"

DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, RuntimeError, LookupError,
                  TypeError, ArithmeticError, AttributeError)  # fmt: skip
"""Every exception that the decoders raised in tests with flipped or missing bytes."""

HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
OTHER_SIGNATURES = (
    (b"<!doctype", "a web page"), (b"<html", "a web page"), (b"<?xml", "XML or SVG"), (b"<svg", "SVG"),
    (b"%pdf", "a PDF"), (b"pk\x03\x04", "a ZIP archive"),
)  # fmt: skip
"""First bytes in lower case, and the kind of file that starts with them."""


@contextmanager
def decoder_errors(name: str, data: bytes) -> Iterator[None]:
    """Convert the decoders' exceptions; `name` is the file's name in messages.

    Raises:
        PhotoTooLarge: the image has more pixels than Pillow opens.
        PhotoError: the data is not an image, damaged, truncated, or does not fit into memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about unusual EXIF and large images; read.py checks both
            yield
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, checked before it tells the size
        raise PhotoTooLarge(f"{name} has more megapixels than can be decoded safely. Scale it down first.") from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not an image that can be read{_likely_kind(data)}. Give a {SUPPORTED} file."
        ) from error
    except MemoryError as error:
        raise PhotoError(f"{name} does not fit into memory. Scale it down first.") from error
    except DECODER_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise PhotoError(f"{name} is damaged or truncated ({reason}). Download or save it again.") from error


def _likely_kind(data: bytes) -> str:
    """Returns the likely kind of a file that is not a photo, in parentheses; empty if unknown."""
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return " (it looks like a HEIC photo: export it as JPEG)"
    start = data[:200].lstrip().lower()
    return next((f" (it looks like {kind})" for signature, kind in OTHER_SIGNATURES if start.startswith(signature)), "")
