"""Writes photo files with their metadata and alpha, at 8 or 16 bits.

carriers.py says which part of a file of each format holds which metadata.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from models.errors import PhotoError
from models.photo import icc as profiles
from models.photo import iptc, jpeg_segments, png_chunks
from models.photo.carriers import Carried, carried
from models.photo.read import Photo, Samples
from models.photo.resolution import jfif_dpi
from models.photo.sixteen_bit import encode_png
from models.photo.tiff import encode_tiff
from models.photo.transparency import hidden_mask, put_back
from models.warning_codes import CodedWarning, coded

DEFAULT_QUALITY = {"jpeg": 95, "webp": 90, "avif": 85}
"""For each lossy format; PNG and TIFF are lossless."""

SIXTEEN_BIT_FORMATS = ("png", "tiff")


def encode_photo(photo: Photo, format: str | None = None, quality: int | None = None) -> bytes:
    """Encode a photo as a file of `format`, or of its own format if None.

    PNG and TIFF keep 16 bits; other formats get 8 bits, rounded.  All formats keep alpha except JPEG, which gets a
    white background.

    Args:
        quality: 1 to 100, for lossy formats; None is DEFAULT_QUALITY.

    Raises:
        PhotoError: the format cannot hold an image of this size (WebP and AVIF limit the sides).
    """
    format, photo = format or photo.format, _with_hidden(photo)
    metadata, icc = carried(photo.metadata, photo.exif, format), _matching_icc(photo, format)
    if format == "tiff":
        return encode_tiff(_samples(photo, format), icc, metadata)
    if format == "png":
        png = encode_png(_samples(photo, format)) if photo.sixteen_bit else _encoded(photo, format)
        return png_chunks.with_chunks(png, _png_metadata(icc, metadata))
    data = _encoded(photo, format, **_encoder_options(format, icc, metadata, quality))
    return jpeg_segments.with_segments(data, _jpeg_metadata(metadata)) if format == "jpeg" else data


def _with_hidden(photo: Photo) -> Photo:
    """Returns the photo with the pixels that alpha hides as they were in its file."""
    mask = hidden_mask(photo.alpha)
    if photo.hidden is None or mask is None:
        return photo
    return replace(photo, pixels=put_back(photo.pixels, mask, photo.hidden))


def _encoded(photo: Photo, format: str, **options: bytes | int | bool | tuple[int, int]) -> bytes:
    """Encode 8-bit pixels with Pillow.

    Raises:
        PhotoError: the format cannot hold an image of this size.
    """
    image, target = _eight_bit_image(photo, format), io.BytesIO()
    try:
        try:
            image.save(target, format=format.upper(), **options)
        except OSError:  # Pillow's buffer for optimized JPEGs is too small for a picture of noise
            if not options.get("optimize"):
                raise
            target = io.BytesIO()
            image.save(target, format=format.upper(), **{**options, "optimize": False})
    except (OSError, ValueError, RuntimeError) as error:
        raise PhotoError(
            f"cannot write {image.width} x {image.height} px as {format}: {error}. Try --format png."
        ) from error
    return target.getvalue()


def conversion_warnings(photo: Photo, format: str) -> tuple[str, ...]:
    """Returns a warning for each property of the photo that a file of `format` cannot hold."""
    warnings = []
    if photo.alpha is not None and format == "jpeg":
        warnings.append(CodedWarning("JPEG has no transparency: placed on a white background", "lost-alpha"))
    if photo.sixteen_bit and format not in SIXTEEN_BIT_FORMATS:
        sentence = f"{format.upper()} is written with 8 bits a sample: rounded from 16"
        warnings.append(CodedWarning(sentence, "reduced-depth"))
    if photo.icc is not None and _matching_icc(photo, format) is None:
        sentence = "the color profile was not kept: it fits neither gray nor RGB samples"
        warnings.append(CodedWarning(sentence, "lost-profile"))
    return (*warnings, *coded(carried(photo.metadata, photo.exif, format).losses, "lost-metadata"))


def to_eight_bits(samples: Samples) -> Samples:
    """Returns uint16 samples rounded to uint8 (257 levels each); uint8 samples are returned unchanged."""
    return samples if samples.dtype == np.uint8 else ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _encoder_options(format: str, icc: bytes | None, metadata: Carried, quality: int | None) -> dict[str, Any]:
    """Returns the keyword arguments for Pillow's encoders of lossy formats."""
    options: dict[str, Any] = {"quality": quality or DEFAULT_QUALITY[format]}
    if icc:
        options["icc_profile"] = icc
    if metadata.exif:
        options["exif"] = metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    if format == "jpeg":
        options |= {"subsampling": 0, "optimize": True}  # chroma subsampling would blur restored color edges
        if metadata.dpi and (whole := jfif_dpi(metadata.dpi)):
            options["dpi"] = whole
    return options


def _jpeg_metadata(metadata: Carried) -> list[tuple[int, bytes]]:
    """Returns the segments that Pillow does not write."""
    segments = [(jpeg_segments.COMMENT, comment.encode()) for comment in metadata.comments]
    if metadata.iptc:
        block = iptc.PHOTOSHOP_PREFIX + iptc.photoshop_block(metadata.iptc)
        segments.append((jpeg_segments.APP13, block))
    return segments


def _png_metadata(icc: bytes | None, metadata: Carried) -> bytes:
    return png_chunks.metadata_chunks(
        icc=icc, dpi=metadata.dpi, exif=metadata.exif, xmp=metadata.xmp, texts=metadata.texts
    )


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
    colors = _luma(photo.pixels)[..., None] if _is_written_gray(photo, format) else photo.pixels
    if photo.alpha is None:
        return colors
    alpha = photo.alpha if photo.alpha.dtype == colors.dtype else to_eight_bits(photo.alpha)
    return np.concatenate([colors, alpha[..., None]], axis=2)


def _is_written_gray(photo: Photo, format: str) -> bool:
    if format == "tiff" and photo.sixteen_bit and photo.alpha is not None:
        return False  # Pillow, among others, cannot open a TIFF of 16-bit gray with alpha
    if format == "avif":
        return photo.gray and photo.alpha is None
    return photo.gray and format != "webp"  # WebP stores gray as RGB


def _matching_icc(photo: Photo, format: str) -> bytes | None:
    """Returns the ICC profile for the samples written, gray or RGB; None if there is none."""
    return profiles.for_written(photo.icc, gray=_is_written_gray(photo, format)) if photo.icc else None
