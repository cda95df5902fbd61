"""Reads of AVIF files what Pillow does not tell: bits a sample, and the color encoding (ISO/IEC 23008-12; AV1-ISOBMFF).

Shapes:  H W pixels, C samples a pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
"""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 2**16
CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that contain the properties, and the bytes before their first child."""


def properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and body of the item properties, in the file's order: the photo's precede those of its alpha."""
    yield from _boxes(data[:HEADER_BYTES], 0)


def _boxes(data: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8:
            return
        body = data[position + 8 : position + size]
        if kind in CONTAINERS:
            yield from _boxes(body, CONTAINERS[kind])
        else:
            yield kind, body
        position += size


def depth_of(data: bytes) -> int:
    """Returns the bits a sample: 8, 10 or 12 (AV1-ISOBMFF, section 2.3.3)."""
    for kind, body in properties(data):
        if kind == b"av1C" and len(body) > 2 and body[2] & 0x40:
            return 12 if body[2] & 0x20 else 10
    return 8


def color_codes(data: bytes) -> tuple[int, int] | None:
    """Returns color primaries and transfer characteristics (H.273) of the nclx property."""
    for kind, body in properties(data):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 8:
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            return primaries, transfer
    return None


def decode_avif(data: bytes) -> NDArray[np.uint16] | None:
    """Returns (H, W, C) samples scaled to 16 bits; None if the file has 8 bits a sample.

    Rotation and mirroring are not applied: Pillow reports them as EXIF orientation.
    """
    depth = depth_of(data)
    if depth == 8:
        return None
    import imagecodecs  # takes 0.2 s to import, and few files need it

    samples = np.asarray(imagecodecs.avif_decode(data, index=0))
    if samples.dtype != np.uint16:
        return None
    maximum = 2**depth - 1
    scaled: NDArray[np.uint16] = ((samples.astype(np.uint32) * 65535 + maximum // 2) // maximum).astype(np.uint16)
    return scaled[..., None] if scaled.ndim == 2 else scaled


def has_gain_map(data: bytes) -> bool:
    """Returns whether the file declares a tone-mapped image item (ISO 21496-1)."""
    return any(kind == b"iinf" and b"tmap" in body for kind, body in properties(data))
