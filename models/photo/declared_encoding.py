"""Finds out how a file without an ICC profile encodes its colors."""

import struct

from PIL import ExifTags, Image

from models.photo import avif, png_chunks
from models.photo.color_encoding import (
    ADOBE_RGB,
    ADOBE_RGB_GAMMA,
    ADOBE_RGB_NAME,
    SRGB_GAMMA,
    Encoding,
    encoding_of_codes,
)
from models.photo.exif import EXIF_ERRORS
from models.photo.icc import SRGB_PRIMARIES, Primaries

WHITE_POINT, CHROMATICITIES, UNCALIBRATED = 318, 319, 65535


def declared_encoding(data: bytes, image: Image.Image, format: str) -> Encoding | None:
    """Returns the encoding that the file declares; None for sRGB, for an ICC profile, and if it declares nothing."""
    if format == "png":
        return _of_png(data) or _of_camera(image)
    if format == "avif" and (codes := avif.color_codes(data)):
        return encoding_of_codes(*codes)
    if format == "tiff" and (found := _of_tiff(image)):
        return found
    return _of_camera(image)


def _of_png(data: bytes) -> Encoding | None:
    """PNG, third edition, section 4.3: cICP comes before iCCP, then sRGB, then gAMA and cHRM."""
    found = dict(png_chunks.chunks(data))
    if len(found.get(b"cICP", b"")) >= 4:
        return encoding_of_codes(found[b"cICP"][0], found[b"cICP"][1])
    if b"iCCP" in found or b"sRGB" in found:
        return None
    gamma, primaries = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    if len(gamma) < 4 and len(primaries) < 32:
        return None
    stored = struct.unpack(">I", gamma[:4])[0] if len(gamma) >= 4 else 0
    values = [value / 100_000 for value in struct.unpack(">8I", primaries[:32])] if len(primaries) >= 32 else None
    return Encoding(
        _checked(values) or SRGB_PRIMARIES, 100_000 / stored if 1000 < stored < 1_000_000 else SRGB_GAMMA, "PNG colors"
    )


def _of_tiff(image: Image.Image) -> Encoding | None:
    tags = getattr(image, "tag_v2", {})
    if CHROMATICITIES not in tags:
        return None
    try:
        white = tags.get(WHITE_POINT, SRGB_PRIMARIES[:2])
        values = [float(value) for value in (*white, *tags[CHROMATICITIES])]
    except (TypeError, ValueError, ArithmeticError):
        return None
    primaries = _checked(values)
    return Encoding(primaries, None, "TIFF chromaticities") if primaries else None


def _checked(values: list[float] | None) -> Primaries | None:
    if values is None or len(values) != 8 or not all(0 <= value < 2 for value in values):
        return None
    if min(values[1::2]) <= 0:
        return None
    a, b, c, d, e, f, g, h = values
    return a, b, c, d, e, f, g, h


def _of_camera(image: Image.Image) -> Encoding | None:
    """DCF 2.0, section 5: Adobe RGB is the interoperability index R03; some cameras write only color space 2."""
    try:
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        index = str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).strip("\0 ")
    except EXIF_ERRORS:
        return None
    is_adobe = space == 2 or (index == "R03" and space in (UNCALIBRATED, None))
    return Encoding(ADOBE_RGB, ADOBE_RGB_GAMMA, ADOBE_RGB_NAME) if is_adobe else None
