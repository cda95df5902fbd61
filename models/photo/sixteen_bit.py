"""Decodes and encodes PNG with 16 bits a sample; Pillow would reduce them to 8 bits.

Shapes:  H W pixels, C samples a pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.  Samples are uint16.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Samples16 = NDArray[np.uint16]

PNG_HEADER_BYTES = 8 + 25
"""The signature and the IHDR chunk; metadata chunks follow them, before the pixels."""


def decode_png(data: bytes) -> Samples16 | None:
    """Returns (H, W, C) samples; None unless the file has 16 bits a sample."""
    if data[24:25] != b"\x10":
        return None
    import imagecodecs  # takes 0.2 s to import, and few files need it

    return _with_channel_axis(np.asarray(imagecodecs.png_decode(data), dtype=np.uint16))


def encode_png(samples: NDArray[np.uint8] | Samples16, icc: bytes | None, exif: bytes | None) -> bytes:
    """Encode (H, W, C) samples of 8 or 16 bits with an ICC profile and an EXIF block."""
    import imagecodecs

    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)))
    metadata = _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)) if icc else b""
    metadata += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b""
    return data[:PNG_HEADER_BYTES] + metadata + data[PNG_HEADER_BYTES:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _with_channel_axis(samples: Samples16) -> Samples16:
    return samples[..., None] if samples.ndim == 2 else samples
