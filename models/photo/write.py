"""Writes photo files with their ICC profile, EXIF and alpha, at 8 or 16 bits.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.errors import PhotoError
from models.photo.atomic_write import write_atomically
from models.photo.read import Photo, Samples
from models.photo.sixteen_bit import encode_png
from models.photo.tiff import encode_tiff

DEFAULT_QUALITY = {"jpeg": 95, "webp": 90, "avif": 85}
"""For each lossy format; PNG and TIFF are lossless."""

SIXTEEN_BIT_FORMATS = ("png", "tiff")

JPEG_SEGMENT_BYTES = 65_533
"""The size limit of a JPEG segment; EXIF must fit into one."""


def encode_photo(photo: Photo, format: str | None = None, quality: int | None = None) -> bytes:
    """Encode a photo as a file of `format`, or of its own format if None.

    PNG and TIFF keep 16 bits; other formats get 8 bits, rounded.  All formats keep alpha except JPEG, which gets a
    white background.

    Args:
        quality: 1 to 100, for lossy formats; None is DEFAULT_QUALITY.

    Raises:
        PhotoError: the format cannot hold an image of this size (WebP and AVIF limit the sides).
    """
    format = format or photo.format
    if format == "tiff" or (format == "png" and photo.sixteen_bit):
        samples = _samples(photo, format)
        icc = _matching_icc(photo, gray=samples.shape[2] < 3)
        return encode_tiff(samples, icc, photo.exif) if format == "tiff" else encode_png(samples, icc, photo.exif)
    image, target = _eight_bit_image(photo, format), io.BytesIO()
    try:
        image.save(target, format=format.upper(), **_encoder_options(photo, format, quality))
    except (OSError, ValueError, RuntimeError) as error:
        raise PhotoError(
            f"cannot write {image.width} x {image.height} px as {format}: {error}. Try --format png."
        ) from error
    return target.getvalue()


def conversion_warnings(photo: Photo, format: str) -> tuple[str, ...]:
    """Returns a warning for each property of the photo that a file of `format` cannot hold."""
    warnings = []
    if photo.alpha is not None and format == "jpeg":
        warnings.append("JPEG has no transparency: placed on a white background")
    if photo.sixteen_bit and format not in SIXTEEN_BIT_FORMATS:
        warnings.append(f"{format.upper()} is written with 8 bits a sample: rounded from 16")
    return tuple(warnings)


def write_photo(photo: Photo, path: Path, format: str | None = None, quality: int | None = None) -> None:
    """Encode a photo and write it atomically."""
    write_atomically(path, encode_photo(photo, format, quality))


def to_eight_bits(samples: Samples) -> Samples:
    """Returns uint16 samples rounded to uint8 (257 levels each); uint8 samples are returned unchanged."""
    return samples if samples.dtype == np.uint8 else ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _encoder_options(photo: Photo, format: str, quality: int | None) -> dict[str, Any]:
    """Returns the keyword arguments for Pillow's encoder."""
    options: dict[str, Any] = {}
    gray = photo.gray and format not in ("webp", "avif")  # these two store gray as RGB
    if icc := _matching_icc(photo, gray):
        options["icc_profile"] = icc
    if photo.exif and not (format == "jpeg" and len(photo.exif) > JPEG_SEGMENT_BYTES):
        options["exif"] = photo.exif
    if format in DEFAULT_QUALITY:
        options["quality"] = quality or DEFAULT_QUALITY[format]
    if format == "jpeg":
        options |= {"subsampling": 0, "optimize": True}  # chroma subsampling would blur restored color edges
    return options


def _eight_bit_image(photo: Photo, format: str) -> Image.Image:
    pixels = to_eight_bits(photo.pixels)
    image = Image.fromarray(_luma(pixels)) if photo.gray else Image.fromarray(pixels)
    if photo.alpha is None:
        return image
    alpha = Image.fromarray(to_eight_bits(photo.alpha))
    if format == "jpeg":
        return Image.composite(image, Image.new(image.mode, image.size, "white"), alpha)
    if format in ("webp", "avif") and photo.gray:
        image = image.convert("RGB")  # neither format has gray with alpha
    image.putalpha(alpha)
    return image


def _luma(pixels: Samples) -> Samples:
    """(H, W, 3) -> (H, W) by Rec. 601; gray pixels keep their exact value."""
    weights = np.array([299, 587, 114], dtype=np.uint32)
    luma = (pixels.astype(np.uint32) @ weights + 500) // 1000
    return luma.astype(np.uint16) if pixels.dtype == np.uint16 else luma.astype(np.uint8)


def _samples(photo: Photo, format: str) -> Samples:
    """Returns (H, W, C): gray or RGB, then alpha if the photo has it."""
    # Pillow, among others, cannot open a TIFF of 16-bit gray with alpha
    gray = photo.gray and not (format == "tiff" and photo.sixteen_bit and photo.alpha is not None)
    colors = _luma(photo.pixels)[..., None] if gray else photo.pixels
    if photo.alpha is None:
        return colors
    alpha = photo.alpha if photo.alpha.dtype == colors.dtype else to_eight_bits(photo.alpha)
    return np.concatenate([colors, alpha[..., None]], axis=2)


def _matching_icc(photo: Photo, gray: bool) -> bytes | None:
    """Returns the ICC profile if it describes the color space written (ICC.1: bytes 16 to 19 name it)."""
    matches = photo.icc is not None and photo.icc[16:20] == (b"GRAY" if gray else b"RGB ")
    return photo.icc if matches else None
