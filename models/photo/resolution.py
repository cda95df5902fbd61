"""Reads the resolution of a photo, in dots per inch, from JFIF, pHYs or EXIF; TIFF's tags are EXIF's."""

import io
import math

from PIL import ExifTags, Image

from models.photo import png_chunks
from models.photo.exif import EXIF_ERRORS

INCH_CM = 2.54
MAX_DPI, WHOLE_TOLERANCE, JFIF_TOLERANCE = 65_535, 0.01, 0.05
ASPECT_LOSS = "the pixels are not square: the ratio of their sides was not kept"
JFIF_UNITS: dict[object, int] = {1: 2, 2: 3}
"""JFIF's codes of inch and centimeter, and those of TIFF."""
Dpi = tuple[float, float]


def read_dpi(data: bytes, image: Image.Image, format: str) -> tuple[Dpi | None, tuple[str, ...]]:
    """Returns horizontal and vertical dots per inch of the upright photo, and warnings; None if unknown."""
    dpi, losses = None, tuple[str, ...]()
    if format == "png":
        body = next((body for kind, body in png_chunks.chunks(data) if kind == b"pHYs" and len(body) >= 9), b"")
        dpi = _in_inches(png_chunks.dpi_of(body) or (0, 0), 2)
        if body and not dpi and body[:4] != body[4:8]:
            losses = (ASPECT_LOSS,)
    elif format == "jpeg":
        unit, density = image.info.get("jfif_unit"), image.info.get("jfif_density", (1, 1))
        dpi = _in_inches(density, JFIF_UNITS.get(unit))
        if unit == 0 and density[0] != density[1]:
            losses = (ASPECT_LOSS,)
    dpi = dpi or _exif_dpi(image)
    if dpi and dpi[0] != dpi[1] and _is_turned(data, image):
        dpi = dpi[1], dpi[0]
    return dpi, losses


def _exif_dpi(image: Image.Image) -> Dpi | None:
    try:
        exif = image.getexif()
        density = exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution)
        return _in_inches(density, exif.get(ExifTags.Base.ResolutionUnit, 2))
    except EXIF_ERRORS:
        return None


def _in_inches(density: tuple[object, object], unit: object) -> Dpi | None:
    """Returns dots per inch; `unit` is TIFF's: 2 inch, 3 centimeter."""
    if unit not in (2, 3):
        return None
    try:
        horizontal, vertical = (float(value) * (INCH_CM if unit == 3 else 1) for value in density)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    if not all(math.isfinite(value) and 0 < value <= MAX_DPI for value in (horizontal, vertical)):
        return None
    return _rounded(horizontal), _rounded(vertical)


def _rounded(dpi: float) -> float:
    """Returns a whole number if that is what the file meant before it converted the unit."""
    return float(round(dpi)) if abs(dpi - round(dpi)) < WHOLE_TOLERANCE else dpi


def _is_turned(data: bytes, image: Image.Image) -> bool:
    """Returns whether the orientation swaps width and height.  Pillow removes that of a TIFF that it has loaded."""
    try:
        if image.format == "TIFF":
            with Image.open(io.BytesIO(data)) as fresh:
                return fresh.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except EXIF_ERRORS:
        return False


def jfif_dpi(dpi: Dpi) -> tuple[int, int] | None:
    """Returns the resolution as JFIF can store it; None if that is not exact enough, so that EXIF is read instead."""
    whole = round(dpi[0]), round(dpi[1])
    exact = all(abs(value - number) < JFIF_TOLERANCE for value, number in zip(dpi, whole, strict=True))
    return whole if exact and min(whole) > 0 else None
