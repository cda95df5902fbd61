"""Sample pixels and metadata for tests of photo files, encoded and decoded by Pillow."""

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

RGB = np.random.default_rng(1).integers(0, 256, (10, 14, 3), dtype=np.uint8)
ALPHA = np.random.default_rng(2).integers(0, 256, (10, 14), dtype=np.uint8)
RGB16 = np.random.default_rng(3).integers(0, 65536, (10, 14, 3), dtype=np.uint16)
ALPHA16 = np.random.default_rng(4).integers(0, 65536, (10, 14), dtype=np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS: dict[str, dict[str, Any]] = {"png": {}, "tiff": {}, "webp": {"lossless": True, "exact": True}}
"""Formats that can be lossless, with the options that make them so."""


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, format=format.upper(), **options)
    return target.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def phone_exif(orientation: int = 1) -> bytes:
    """EXIF as a phone writes it, with a location.  As bytes: Pillow would drop a directory from a TIFF otherwise."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:11:21 10:00:00"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.5), 3: "E", 4: (13.0, 24.0, 17.25)})
    return exif.tobytes()
