"""PNG and TIFF with 16 bits a sample, which Pillow would cut to 8.

Shapes:  H W pixels, C samples a pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.  Samples are uint16.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Deep = NDArray[np.uint16]

TOP = 65535
PNG_HEADER = 8 + 25
"""Bytes of the signature and IHDR; profiles must stand before the pixels."""


def decode_png(data: bytes) -> Deep | None:
    """(H, W, C); None unless it has 16 bits."""
    if data[24:25] != b"\x10":
        return None
    import imagecodecs  # 0.2 s, for the few files that need it

    return _with_channels(np.asarray(imagecodecs.png_decode(data), dtype=np.uint16))


def encode_png(samples: NDArray[np.uint8] | Deep, icc: bytes | None, exif: bytes | None) -> bytes:
    """`samples` (H, W, C) of either depth, with profile and EXIF."""
    import imagecodecs

    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)))
    extra = _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)) if icc else b""
    extra += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b""
    return data[:PNG_HEADER] + extra + data[PNG_HEADER:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def decode_tiff(data: bytes) -> Deep | None:
    """(H, W, C) of the first picture; None unless it is gray or RGB with 16 bits."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        kind = tifffile.PHOTOMETRIC
        if page.dtype != np.uint16 or page.bitspersample != 16 or page.photometric not in (
            kind.MINISWHITE, kind.MINISBLACK, kind.RGB,
        ):  # fmt: skip
            return None
        samples = np.asarray(page.asarray(), dtype=np.uint16)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, 2)
        samples = _with_channels(samples)
        if page.photometric == kind.MINISWHITE:
            samples = np.concatenate([TOP - samples[..., :1], samples[..., 1:]], axis=2)
        return _alpha_settled(samples, 3 if page.photometric == kind.RGB else 1, tuple(page.extrasamples))


def _alpha_settled(samples: Deep, colors: int, extras: tuple[int, ...]) -> Deep:
    """Colors, then straight alpha if the first extra sample is one (TIFF 6.0: 1 premultiplied, 2 straight)."""
    if not extras or extras[0] not in (1, 2):
        return samples[..., :colors]
    samples = samples[..., : colors + 1]
    if extras[0] == 2:
        return samples
    alpha = np.maximum(samples[..., colors:], 1).astype(np.float64)
    straight = np.minimum(np.round(samples[..., :colors] * (TOP / alpha)), TOP).astype(np.uint16)
    return np.concatenate([straight, samples[..., colors:]], axis=2)


def _with_channels(samples: Deep) -> Deep:
    return samples[..., None] if samples.ndim == 2 else samples
