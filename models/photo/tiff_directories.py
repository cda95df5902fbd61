"""Reads the directories of TIFF files: pages, and where their pixels lie (TIFF 6.0; BigTIFF).

Decoders follow any chain of directories and fill missing strips with black.  Here all of them are checked first.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil

import numpy as np

from models.errors import PhotoError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little-endian and big-endian TIFF, and the same of BigTIFF."""

MAX_DIRECTORIES, MAX_ENTRIES, MAX_SEGMENTS = 1000, 4096, 500_000
"""50 megapixels in tiles of 16 px make 195,000 segments."""

VALID_VALUES = {266: (1, 2), 284: (1, 2), 317: (1, 2, 3)}
"""Of the order of bits, the planes and the predictor; decoders guess at others, and each differently."""

VALUE_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
VALUE_BYTES = {2: 1, 5: 8, 10: 8, 11: 4, 12: 8} | {key: struct.calcsize(code) for key, code in VALUE_FORMATS.items()}


class Tag(IntEnum):
    """The tags that are checked: those that a decoder needs, and those that tell the kind of the file."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    MAKE = 271
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    PLANAR = 284
    FAX_OPTIONS = 292
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SUB_DIRECTORIES = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    PHOTOSHOP_LAYERS = 37724
    ICC_PROFILE = 34675
    IMAGE_DEPTH = 32997
    TILE_DEPTH = 32998
    DNG_VERSION = 50706


TAGS = frozenset(Tag)


@dataclass(kw_only=True)
class Directory:
    """One directory: the tags of one picture."""

    values: dict[int, tuple[int, ...]] = field(default_factory=dict)
    children: list["Directory"] = field(default_factory=list)
    bigtiff: bool = False

    def get(self, tag: Tag, default: int = 0) -> int:
        """Returns the first value of a tag."""
        return next(iter(self.values.get(tag, ())), default)

    @property
    def is_page(self) -> bool:
        """Whether it is a picture of its own: neither a smaller version nor a mask of another."""
        return not self.get(Tag.NEW_SUBFILE_TYPE) & 0b101 and self.get(Tag.SUBFILE_TYPE) != 2

    @property
    def size(self) -> tuple[int, int]:
        return self.get(Tag.WIDTH), self.get(Tag.HEIGHT)


def read_directories(data: bytes, name: str) -> list[Directory]:
    """Returns the directories of the main chain; those of SubIFDs are their children.

    Raises:
        PhotoError: a directory lies outside the file, or they form a loop, or there are too many.
    """
    return _Reader(data, name).chain()


class _Reader:
    """Reads one file.  `seen` are the offsets of all directories, so that none is read twice."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name
        self.order = "<" if data[:2] == b"II" else ">"
        self.bigtiff = data[2:4] in (b"+\0", b"\0+")
        self.offset_code = "Q" if self.bigtiff else "I"
        self.seen: set[int] = set()

    def chain(self) -> list[Directory]:
        found = []
        (offset,) = self.unpack(self.offset_code, 8 if self.bigtiff else 4)
        while offset:
            directory, offset = self.directory(offset)
            found.append(directory)
        if not found:
            raise self.damaged("it has no directory")
        return found

    def directory(self, offset: int, depth: int = 0) -> tuple[Directory, int]:
        """Returns the directory at an offset, and the offset of the next one."""
        if offset in self.seen:
            raise self.damaged("its directories form a loop")
        self.seen.add(offset)
        if len(self.seen) > MAX_DIRECTORIES:
            raise PhotoError(f"{self.name} has more than {MAX_DIRECTORIES:,} TIFF directories. Save it again.")
        (count,) = self.unpack("Q" if self.bigtiff else "H", offset)
        if count > MAX_ENTRIES:
            raise self.damaged(f"a directory of {count:,} entries")
        start, entry_bytes = offset + (8 if self.bigtiff else 2), 20 if self.bigtiff else 12
        found = Directory(bigtiff=self.bigtiff)
        for position in range(start, start + count * entry_bytes, entry_bytes):
            tag, kind, length = self.unpack(f"HH{self.offset_code}", position)
            if tag in TAGS and kind not in VALUE_BYTES:
                raise self.damaged(f"tag {tag} has the unknown type {kind}")
            if tag in found.values:
                raise self.damaged(f"tag {tag} is given twice")
            if tag in TAGS:
                found.values[tag] = self.value(kind, length, position + (12 if self.bigtiff else 8))
        if depth == 0:
            found.children = self.children(found.values.get(Tag.SUB_DIRECTORIES, ()))
        (following,) = self.unpack(self.offset_code, start + count * entry_bytes)
        return found, following

    def children(self, offsets: tuple[int, ...]) -> list[Directory]:
        """Returns the readable directories at these offsets; editors copy such offsets into files without them."""
        found = []
        for offset in offsets[:MAX_DIRECTORIES]:
            with suppress(PhotoError):
                found.append(self.directory(offset, depth=1)[0])
        return found

    def value(self, kind: int, count: int, position: int) -> tuple[int, ...]:
        """Returns integers; for texts and fractions one zero for each."""
        if count * VALUE_BYTES[kind] > (8 if self.bigtiff else 4):
            (position,) = self.unpack(self.offset_code, position)
        if position + count * VALUE_BYTES[kind] > len(self.data):
            raise self.damaged("a value lies outside the file")
        if kind not in VALUE_FORMATS:
            return (0,)
        if count > 4 * MAX_SEGMENTS:  # an embedded block, such as Photoshop's layers
            return (0,)
        return self.unpack(f"{count}{VALUE_FORMATS[kind]}", position)

    def unpack(self, code: str, position: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + code, self.data, position)
        except struct.error as error:
            raise self.damaged("a directory lies outside the file") from error

    def damaged(self, reason: str) -> PhotoError:
        return PhotoError(f"{self.name} is damaged or truncated ({reason}). Download or save it again.")


def check_segments(page: Directory, data: bytes, name: str) -> None:
    """Check that every strip or tile of a page lies within the file.

    Raises:
        PhotoError: one is missing, empty, or reaches over the end.
    """
    damaged = PhotoError(
        f"{name} is damaged or truncated (pixels are missing, or their layout is unknown). Download or save it again."
    )
    if not all(page.size) or any(
        tag in page.values and page.values[tag][:1] not in [(value,) for value in valid]
        for tag, valid in VALID_VALUES.items()
    ):
        raise damaged
    offsets = page.values.get(Tag.TILE_OFFSETS) or page.values.get(Tag.STRIP_OFFSETS) or ()
    counts = page.values.get(Tag.TILE_BYTES) or page.values.get(Tag.STRIP_BYTES) or ()
    if len(offsets) < _segment_count(page, name):
        raise damaged
    if not counts and page.get(Tag.COMPRESSION, 1) == 1 and len(offsets) == 1:
        counts = (len(data) - offsets[0],)  # old writers leave it out; the decoder knows the size
    if len(counts) < len(offsets):
        raise damaged
    starts, sizes = np.array(offsets, dtype=np.float64), np.array(counts[: len(offsets)], dtype=np.float64)
    if (starts <= 0).any() or (sizes <= 0).any() or (starts + sizes > len(data)).any():
        raise damaged


def _segment_count(page: Directory, name: str) -> int:
    width, height = page.size
    planes = page.get(Tag.SAMPLES, 1) if page.get(Tag.PLANAR, 1) == 2 else 1
    if Tag.TILE_OFFSETS in page.values:
        across = ceil(width / max(page.get(Tag.TILE_WIDTH), 1))
        count = across * ceil(height / max(page.get(Tag.TILE_HEIGHT), 1))
    else:
        count = ceil(height / min(max(page.get(Tag.ROWS_PER_STRIP, height), 1), height))
    if count * planes > MAX_SEGMENTS:
        raise PhotoError(
            f"{name} has {count * planes:,} strips or tiles: reading it would take too long. Save it again."
        )
    return count * planes


def all_directories(directories: list[Directory]) -> Iterator[Directory]:
    """Yields the directories and their children."""
    for directory in directories:
        yield directory
        yield from directory.children
