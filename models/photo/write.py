"""Photos back into files: the format's own 8 or 16 bits, with profile, EXIF and alpha; written whole or not at all.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

import io
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.errors import PhotoError
from models.photo.read import Photo, Samples
from models.photo.sixteen_bit import encode_png
from models.photo.tiff import encode_tiff

QUALITY = {"jpeg": 95, "webp": 90, "avif": 85}
"""The default of each lossy format; PNG and TIFF are lossless."""

DEEP = ("png", "tiff")
"""What can hold 16 bits a sample."""

JPEG_SEGMENT_BYTES = 65_533
"""The most that one JPEG segment holds; EXIF has only one."""


def encode_photo(photo: Photo, kind: str | None = None, quality: int | None = None) -> bytes:
    """The photo as a file of `kind` (its own format when None); quality 1 to 100 counts for lossy formats.

    16 bits survive in PNG and TIFF and are rounded to 8 elsewhere; alpha survives everywhere but in JPEG (over white).

    Raises:
        PhotoError: the format cannot hold the picture (WebP and AVIF have a largest side).
    """
    kind = kind or photo.format
    if kind == "tiff" or (kind == "png" and photo.sixteen_bit):
        samples = _samples(photo, kind)
        icc = _fitting_icc(photo, gray=samples.shape[2] < 3)
        return encode_tiff(samples, icc, photo.exif) if kind == "tiff" else encode_png(samples, icc, photo.exif)
    image, target = _image(photo, kind), io.BytesIO()
    try:
        image.save(target, format=kind.upper(), **_options(photo, kind, quality))
    except (OSError, ValueError, RuntimeError) as error:
        raise PhotoError(
            f"cannot write {image.width} x {image.height} as {kind}: {error}. Try --format png."
        ) from error
    return target.getvalue()


def losses(photo: Photo, kind: str) -> tuple[str, ...]:
    """What this photo has that a file of `kind` cannot hold, a phrase each."""
    lost = []
    if photo.alpha is not None and kind == "jpeg":
        lost.append("JPEG has no transparency: laid over white")
    if photo.sixteen_bit and kind not in DEEP:
        lost.append(f"{kind.upper()} has 8 bits a sample here: rounded from 16")
    return tuple(lost)


def _options(photo: Photo, kind: str, quality: int | None) -> dict[str, Any]:
    """What Pillow's encoder is told."""
    options: dict[str, Any] = {}
    if icc := _fitting_icc(photo, gray=photo.gray and kind not in ("webp", "avif")):  # these two store gray as RGB
        options["icc_profile"] = icc
    if photo.exif and not (kind == "jpeg" and len(photo.exif) > JPEG_SEGMENT_BYTES):
        options["exif"] = photo.exif
    if kind in QUALITY:
        options["quality"] = quality or QUALITY[kind]
    if kind == "jpeg":
        options |= {"subsampling": 0, "optimize": True}  # a restored edge is not to lose its color again
    return options


def write_photo(photo: Photo, path: Path, kind: str | None = None, quality: int | None = None) -> None:
    """Encode into a file that appears whole or not at all."""
    write_whole(path, encode_photo(photo, kind, quality))


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target and rename; an interrupted write leaves no half file.

    Raises:
        PhotoError: the folder cannot be written to.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror}.") from error


def eight_bits(samples: Samples) -> Samples:
    """uint16 samples rounded to uint8 (257 steps each); uint8 ones as they are."""
    return samples if samples.dtype == np.uint8 else ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _image(photo: Photo, kind: str) -> Image.Image:
    pixels = eight_bits(photo.pixels)
    image = Image.fromarray(_luma(pixels)) if photo.gray else Image.fromarray(pixels)
    if photo.alpha is None:
        return image
    alpha = Image.fromarray(eight_bits(photo.alpha))
    if kind == "jpeg":
        return Image.composite(image, Image.new(image.mode, image.size, "white"), alpha)
    if kind in ("webp", "avif") and photo.gray:
        image = image.convert("RGB")  # neither has gray with alpha
    image.putalpha(alpha)
    return image


def _luma(pixels: Samples) -> Samples:
    """(H, W, 3) -> (H, W) by Rec. 601; gray pixels keep their value exactly."""
    weights = np.array([299, 587, 114], dtype=np.uint32)
    luma = (pixels.astype(np.uint32) @ weights + 500) // 1000
    return luma.astype(np.uint16) if pixels.dtype == np.uint16 else luma.astype(np.uint8)


def _samples(photo: Photo, kind: str) -> Samples:
    """(H, W, C): gray or RGB, then alpha."""
    # Pillow cannot open a TIFF of 16-bit gray with alpha, and it is not alone
    gray = photo.gray and not (kind == "tiff" and photo.sixteen_bit and photo.alpha is not None)
    colors = _luma(photo.pixels)[..., None] if gray else photo.pixels
    if photo.alpha is None:
        return colors
    alpha = photo.alpha if photo.alpha.dtype == colors.dtype else eight_bits(photo.alpha)
    return np.concatenate([colors, alpha[..., None]], axis=2)


def _fitting_icc(photo: Photo, gray: bool) -> bytes | None:
    """The profile if it is one for the samples that are written (ICC.1: bytes 16 to 19 name the color space)."""
    fits = photo.icc is not None and photo.icc[16:20] == (b"GRAY" if gray else b"RGB ")
    return photo.icc if fits else None
