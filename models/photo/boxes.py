"""Checks the chunks of WebP files and the boxes of AVIF files: whether all of them lie within the file.

Neither format has checksums, so a changed byte within the coded pixels can pass as another picture.
"""

import struct

from models.errors import PhotoError
from models.photo.png import several_pictures

MAX_BOXES = 10_000


def check_webp(data: bytes, name: str) -> None:
    """Walk the RIFF chunks (RFC 9649).

    Raises:
        PhotoError: the file is truncated or has several frames.
    """
    size = struct.unpack_from("<I", data, 4)[0] + 8 if len(data) >= 12 else 12
    _check_end(size, data, name)
    position, frames = 12, 0
    for _ in range(MAX_BOXES):
        if position + 8 > size:
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        position += 8 + length
        _check_end(position, data, name)
        position += length & 1
        frames += kind == b"ANMF"
    else:
        raise PhotoError(f"{name} has more than {MAX_BOXES:,} WebP chunks, expected about 10. Save it again.")
    if frames > 1:
        raise several_pictures(name, frames, "frames")


def avif_warnings(data: bytes, name: str) -> tuple[str, ...]:
    """Returns a warning if the pixels have more than 8 bits a sample (AV1 in ISOBMFF, 2.3.3)."""
    place = data.find(b"av1C")
    flags = data[place + 6] if 0 <= place < len(data) - 6 else 0
    bits = 12 if flags & 0x60 == 0x60 else 10 if flags & 0x40 else 8
    return (f"{name}: its {bits} bits a sample are read as 8 bits",) if bits > 8 else ()


def check_avif(data: bytes, name: str) -> None:
    """Walk the outer boxes (ISO/IEC 14496-12, 4.2).

    Raises:
        PhotoError: the file is truncated.
    """
    position = 0
    for _ in range(MAX_BOXES):
        if position >= len(data):
            return
        _check_end(position + 8, data, name)
        size = struct.unpack_from(">I", data, position)[0]
        if size == 0:  # to the end of the file
            return
        if size == 1:
            _check_end(position + 16, data, name)
            size = struct.unpack_from(">Q", data, position + 8)[0]
        position += max(size, 8)
        _check_end(position, data, name)
    raise PhotoError(f"{name} has more than {MAX_BOXES:,} AVIF boxes, expected about 10. Save it again.")


def _check_end(end: int, data: bytes, name: str) -> None:
    if end > len(data):
        raise PhotoError(
            f"{name} is damaged or truncated (got {len(data):,} bytes, expected at least {end:,}). "
            "Download or save it again."
        )
