"""Photos back into files: the format's own 8 or 16 bits, with profile, EXIF and alpha; written whole or not at all.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

import io
import os
import secrets
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.errors import PhotoError
from models.photo import Photo, Samples

QUALITY = {"jpeg": 95, "webp": 90, "avif": 85}
"""The default of each lossy format; PNG and TIFF are lossless."""


def encode_photo(photo: Photo, kind: str | None = None, quality: int | None = None) -> bytes:
    """The photo as a file of `kind` (its own format when None); quality 1 to 100 counts for lossy formats.

    16 bits survive in PNG and TIFF and are rounded to 8 elsewhere; alpha survives everywhere but in JPEG (over white).

    Raises:
        PhotoError: the format cannot hold the picture (WebP and AVIF have a largest side).
    """
    kind = kind or photo.format
    if photo.sixteen_bit and kind in ("png", "tiff"):
        return _deep_png(photo) if kind == "png" else _deep_tiff(photo)
    image, target = _image(photo, kind), io.BytesIO()
    options: dict[str, Any] = {"icc_profile": photo.icc} if photo.icc else {}
    if photo.exif:
        options["exif"] = photo.exif
    if kind in QUALITY:
        options["quality"] = quality or QUALITY[kind]
    if kind == "jpeg":
        options |= {"subsampling": 0, "optimize": True}
    if kind == "tiff":
        options["compression"] = "tiff_lzw"
    try:
        image.save(target, format=kind.upper(), **options)
    except (OSError, ValueError) as error:
        raise PhotoError(
            f"cannot write {image.width} x {image.height} as {kind}: {error}. Try --format png."
        ) from error
    return target.getvalue()


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
    image = Image.fromarray(_luma(pixels)) if photo.grey else Image.fromarray(pixels)
    if photo.alpha is None:
        return image
    alpha = Image.fromarray(eight_bits(photo.alpha))
    if kind == "jpeg":
        return Image.composite(image, Image.new(image.mode, image.size, "white"), alpha)
    if kind in ("webp", "avif") and photo.grey:
        image = image.convert("RGB")  # neither has grey with alpha
    image.putalpha(alpha)
    return image


def _luma(pixels: Samples) -> Samples:
    """(H, W, 3) -> (H, W) by Rec. 601; grey pixels keep their value exactly."""
    weights = np.array([299, 587, 114], dtype=np.uint32)
    luma = (pixels.astype(np.uint32) @ weights + 500) // 1000
    return luma.astype(np.uint16) if pixels.dtype == np.uint16 else luma.astype(np.uint8)


def _deep_samples(photo: Photo) -> Samples:
    """(H, W), (H, W, 2), (H, W, 3) or (H, W, 4) uint16."""
    colours = _luma(photo.pixels)[..., None] if photo.grey else photo.pixels
    parts = [colours] if photo.alpha is None else [colours, photo.alpha[..., None]]
    samples = np.concatenate(parts, axis=2).astype(np.uint16, copy=False)
    return samples[..., 0] if samples.shape[2] == 1 else samples


def _deep_png(photo: Photo) -> bytes:
    import imagecodecs

    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(_deep_samples(photo))))
    extra = b""
    if photo.icc:
        extra += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc))
    if photo.exif:
        extra += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    after_header = 8 + 25  # signature, then IHDR; colour chunks must come before the pixels
    return data[:after_header] + extra + data[after_header:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _deep_tiff(photo: Photo) -> bytes:
    import tifffile

    samples, target = _deep_samples(photo), io.BytesIO()
    options: dict[str, Any] = {"photometric": "minisblack" if photo.grey else "rgb", "compression": "lzw"}
    if photo.alpha is not None:
        options |= {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
    if photo.icc:
        options["iccprofile"] = photo.icc
    tifffile.imwrite(target, samples, metadata=None, **options)
    return target.getvalue()
