"""What can be restored: paths, bytes, open files, Pillow's images, numpy's arrays, and URLs that the server fetches."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from undegrade_client.errors import InputError

URL = re.compile(r"https?://", re.IGNORECASE)
PNG_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""By the number of channels: gray, gray and alpha, RGB, RGBA."""


class Readable(Protocol):
    """An open binary file."""

    def read(self) -> bytes: ...


class PillowImage(Protocol):
    """An image of Pillow, which this package does not need."""

    mode: str

    def save(self, fp: Any, format: str | None = ..., **params: Any) -> None: ...  # noqa: ANN401


class Array(Protocol):
    """An array of numpy, which this package does not need: (H, W), (H, W, 1..4); uint8 or uint16."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...  # noqa: ANN401
    def astype(self, dtype: Any, /) -> Any: ...  # noqa: ANN401


Image = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | PillowImage | Array
"""An image to restore.  A string is a path, or a URL that the server fetches if it begins with http:// or https://."""


@dataclass(frozen=True)
class Picture:
    """The bytes of an image file, or the URL from which the server fetches it."""

    data: bytes = b""
    url: str | None = None


def read_image(image: Image) -> Picture:
    """Return the bytes of an image, or its URL.

    Raises:
        InputError: the file cannot be read, or the argument is no image.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _not_empty(bytes(image), "the bytes")
    if isinstance(image, str) and URL.match(image):
        return Picture(url=image)
    if isinstance(image, (str, os.PathLike)):
        return _read_file(Path(image))
    if hasattr(image, "dtype") and hasattr(image, "shape"):
        return Picture(_png_of_array(image))
    if hasattr(image, "mode") and hasattr(image, "save"):
        return Picture(_png_of_pillow(image))
    if hasattr(image, "read"):
        data = image.read()
        if isinstance(data, bytes):
            return _not_empty(data, "the file")
        raise InputError("the file is open as text. Open it with mode 'rb'.")
    raise InputError(
        f"got {type(image).__name__}, expected a path, bytes, an open file, an image of Pillow, "
        "an array of numpy, or a URL."
    )


def _read_file(path: Path) -> Picture:
    try:
        return _not_empty(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error


def _not_empty(data: bytes, name: str) -> Picture:
    if not data:
        raise InputError(f"{name} is empty, expected an image.")
    return Picture(data)


def _png_of_pillow(image: Any) -> bytes:  # noqa: ANN401
    """Return a lossless file; modes that PNG lacks become RGB, or RGBA where they have transparency."""
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I;16"):
        image = image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info else "RGB")
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)  # the network is rarely slower than level 6
    return target.getvalue()


def _png_of_array(array: Any) -> bytes:  # noqa: ANN401
    """Return a PNG of an array, in 8 or 16 bits; written here, because Pillow cannot write 16-bit RGB."""
    shape, kind = tuple(array.shape), str(array.dtype)
    height, width, channels = (*shape, 1) if len(shape) == 2 else shape if len(shape) == 3 else (0, 0, 0)
    bits = {"uint8": 8, "uint16": 16, ">u2": 16}.get(kind)
    if bits is None or channels not in PNG_COLOR_TYPES or not height or not width:
        raise InputError(
            f"got an array of {kind} with the shape {shape}, expected uint8 or uint16 with (height, width) "
            "or (height, width, channels), 1 to 4 channels. Scale floats to 0..255 first."
        )
    data = array.astype(">u2" if bits == 16 else "uint8").tobytes()
    row_bytes = width * channels * bits // 8
    rows = b"".join(b"\0" + data[start : start + row_bytes] for start in range(0, len(data), row_bytes))
    header = struct.pack(">IIBBBBB", width, height, bits, PNG_COLOR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
