"""Checks the chunks of a PNG file before it is decoded (PNG, third edition, section 5).

Pillow stops at damaged metadata, and reads metadata that expands to gigabytes up to a limit, where it fails.  Here both
are removed with a warning, so that they do not stop the restoration; damaged pixels are refused.
"""

import struct
import zlib
from collections.abc import Iterator
from math import ceil

from models.errors import PhotoError, UnsupportedPhoto

SIGNATURE = b"\x89PNG\r\n\x1a\n"
IEND = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))

METADATA = frozenset(
    b"tEXt zTXt iTXt eXIf iCCP pHYs tIME sRGB gAMA cHRM sBIT bKGD hIST sPLT cICP mDCV cLLI oFFs pCAL sCAL".split()
)
"""Chunks without which the pixels are the same.  tRNS is alpha, so it is not one of them."""

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of the seven passes of an interlaced picture."""
BLOCK_BYTES = 2**20

MAX_CHUNKS = 200_000
"""A file of 400 MB in chunks of 8 KB has 50,000.  Pillow reads each with slow Python code."""
MAX_METADATA_BYTES, MAX_ALL_METADATA_BYTES = 2**20, 2**25
"""Of one compressed chunk, and of all, after decompression: below Pillow's limits."""


def check_png(data: bytes, name: str) -> tuple[bytes, tuple[str, ...]]:
    """Returns the file without unreadable metadata and with its end marker, and warnings.

    Raises:
        PhotoError: a chunk that the pixels need is damaged or missing, or there are several frames.
    """
    kept, dropped, metadata_bytes = [SIGNATURE], [], 0
    position, pixels_seen = len(SIGNATURE), False
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position) if position + 12 <= len(data) else (0, b"")
        chunk = data[position : position + 12 + length]
        if not kind or len(chunk) < 12 + length:
            if not pixels_seen or (kind or data[position + 4 : position + 8]) == b"IDAT":
                raise _damaged(name, "it ends too early")
            break  # only the end is missing, and the decoder checks that all rows are there
        position += len(chunk)
        whole = zlib.crc32(chunk[4:-4]) == struct.unpack(">I", chunk[-4:])[0]
        if not whole and kind not in METADATA:
            raise _damaged(name, f"wrong checksum of its {kind.decode('latin-1')} chunk")
        if kind == b"acTL" and length == 8:
            _check_frames(struct.unpack_from(">I", chunk, 8)[0], name)
        metadata_bytes += _expanded_bytes(kind, chunk[8:-4]) if kind in METADATA else 0
        if not whole or (kind in METADATA and _is_too_large(kind, chunk[8:-4], metadata_bytes)):
            dropped.append(kind.decode("latin-1"))
            continue
        if kind == b"IEND":
            break
        pixels_seen |= kind == b"IDAT"
        kept.append(chunk)
    else:
        raise PhotoError(f"{name} has more than {MAX_CHUNKS:,} PNG chunks: reading it would take too long.")
    warnings = (f"{name}: unreadable metadata ({', '.join(sorted(set(dropped)))}) was left out",) if dropped else ()
    return b"".join([*kept, IEND]), warnings


def check_pixels(data: bytes, name: str) -> None:
    """Check that a file from `check_png` holds all rows: Pillow leaves rows black that the compressed data lack.

    Raises:
        PhotoError: rows are missing, or the compressed data are damaged.
    """
    missing, inflater = _pixel_bytes(data), zlib.decompressobj()
    for body in _pixel_chunks(data):
        rest = body
        while rest and missing > 0 and not inflater.eof:
            missing -= len(inflater.decompress(rest, BLOCK_BYTES))
            rest = inflater.unconsumed_tail
    while missing > 0 and not inflater.eof and (block := inflater.decompress(inflater.unconsumed_tail, BLOCK_BYTES)):
        missing -= len(block)
    if missing > 0:
        raise _damaged(name, "rows are missing")


def _pixel_chunks(data: bytes) -> Iterator[bytes]:
    position = len(SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            yield data[position + 8 : position + 8 + length]
        position += 12 + length


def _pixel_bytes(data: bytes) -> int:
    """Returns the number of bytes of all rows with their filter bytes, from the header (sections 7.2 and 8.1)."""
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 1)
    passes = ADAM7 if data[28] else ((0, 0, 1, 1),)
    total = 0
    for left, top, step_x, step_y in passes:
        columns, rows = ceil((width - left) / step_x), ceil((height - top) / step_y)
        total += rows * (1 + ceil(columns * bits / 8)) if columns > 0 and rows > 0 else 0
    return total


def _check_frames(frames: int, name: str) -> None:
    if frames > 1:
        raise several_pictures(name, frames, "frames")


def several_pictures(name: str, count: int, kind: str) -> PhotoError:
    """Returns the refusal of a file with more than one picture; `kind` is "pages" or "frames"."""
    return UnsupportedPhoto(
        f"{name} contains {count} {kind}, and only single photos are restored: the others would be lost. "
        f"Save the {kind} as separate files first."
    )


def _damaged(name: str, reason: str) -> PhotoError:
    return PhotoError(f"{name} is damaged or truncated ({reason}). Download or save it again.")


def _is_too_large(kind: bytes, body: bytes, all_bytes: int) -> bool:
    return all_bytes > MAX_ALL_METADATA_BYTES or (
        kind in _COMPRESSED and _expanded_bytes(kind, body) > MAX_METADATA_BYTES
    )


_COMPRESSED = (b"zTXt", b"iCCP", b"iTXt")


def _expanded_bytes(kind: bytes, body: bytes) -> int:
    """Returns the size of a metadata chunk after decompression, at most a little over MAX_METADATA_BYTES."""
    if kind not in _COMPRESSED:
        return len(body)
    _, _, rest = body.partition(b"\0")
    if kind == b"iTXt":
        if rest[:1] != b"\1":
            return len(body)
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        rest = rest[1:]
    try:
        return len(zlib.decompressobj().decompress(rest, MAX_METADATA_BYTES + 1))
    except zlib.error:
        return MAX_METADATA_BYTES + 1  # unreadable: left out as well
