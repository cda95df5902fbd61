"""EXIF metadata that is safe to copy to the restored file.

Only the tags of a list are copied: camera, date, exposure, texts and credits.  So the location, the orientation (it is
applied to the pixels), thumbnails, and all tags that describe how the old file stored its pixels stay behind.  Maker
notes stay behind, too: they hold offsets that break when they move, previews, and sometimes the location.
"""

import struct
from collections.abc import Iterator, MutableMapping
from typing import Any

from PIL import ExifTags, Image

from models.photo.locations import tells_location

KEPT_TAGS = frozenset(
    {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432, 33434, 33437, 34850, 34855}
    | {36867, 36868, *range(40091, 40096), 50708, 50709}
)
"""Tags of the main directory (TIFF 6.0; the XP tags of Windows; the camera's name of DNG)."""

KEPT_EXIF_TAGS = frozenset(
    {33434, 33437, 34850, 34852, *range(34855, 34859), *range(34864, 34870), 36864, 36867, 36868, *range(36880, 36883)}
    | {37121, *range(37377, 37387), 37393, 37394, 37396, 37510, *range(37520, 37523), *range(37888, 37894), 40960}
    | {40961, 41483, 41486, 41487, 41488, 41492, 41493, 41495, 41728, 41729, 41730, *range(41985, 41997), 42016}
    | {*range(42032, 42045), 42080, 42081, 42082, 42240}
)
"""Tags of the Exif directory (EXIF 3.0, tables 7 and 8)."""

MAKER_NOTE, EXIF_DIRECTORY = int(ExifTags.Base.MakerNote), int(ExifTags.IFD.Exif)

SILENT_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292, 293}
    | {297, 301, 317, 318, 319, 320, *range(321, 348), *range(512, 522), 529, 530, 531, 532, 559, 700, 33421, 33422}
    | {33723, 34377, 34665, 34675, 34853, 37122, 37500, 40962, 40963, 40965, 41484, 50341, 59932, 59933}
    | {33550, 33922, 34264, 34735, 34736, 34737}
)
"""Removed without a warning: how the old file stored its pixels, pointers, padding, where the photo was taken (GPS,
GeoTIFF), and what other modules report: XMP, IPTC, ICC and the maker note."""

EXIF_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError, OSError, struct.error)
"""Exceptions that Pillow raises for EXIF that is truncated or has wrong types."""

PREFIX = b"Exif\0\0"
MAKER_NOTE_LOSS = "the camera's maker note was not kept: it breaks when it moves, and may hold the location"
DAMAGED_LOSS = "damaged EXIF was not kept"


def exif_to_keep(image: Image.Image) -> bytes | None:
    """Returns the EXIF block for the new file, with its "Exif\\0\\0" prefix; None if nothing is left or readable."""
    return _kept_and_lost(image)[0]


def exif_losses(image: Image.Image) -> tuple[str, ...]:
    """Returns a warning for each part of the image's EXIF that `exif_to_keep` leaves out and that is worth a word."""
    return _kept_and_lost(image)[1]


def _kept_and_lost(image: Image.Image) -> tuple[bytes | None, tuple[str, ...]]:
    new = Image.Exif()
    try:
        old = image.getexif()
        details = old.get_ifd(EXIF_DIRECTORY)
        lost = [tag for tag in (*old, *details) if tag not in KEPT_TAGS | KEPT_EXIF_TAGS | SILENT_TAGS]
        lost += _copy(old, new, KEPT_TAGS)
        lost += _copy(details, new.get_ifd(EXIF_DIRECTORY), KEPT_EXIF_TAGS)
        block = _serialized(new)
    except EXIF_ERRORS:  # damaged metadata must not stop the restoration of the photo
        return None, (DAMAGED_LOSS,)
    losses = [MAKER_NOTE_LOSS] if MAKER_NOTE in details else []
    if lost:
        losses.append(f"EXIF tags were not kept: {names_of(lost)}")
    if not block and image.info.get("exif") and not (len(old) or details):
        losses.append(DAMAGED_LOSS)
    return block, tuple(losses)


def _copy(old: MutableMapping[int, Any], new: MutableMapping[int, Any], kept: frozenset[int]) -> list[int]:
    """Copy the tags to keep.  Returns those that cannot be written, or whose text tells a location."""
    lost = []
    for tag, value in old.items():
        if tag not in kept:
            continue
        alone = Image.Exif()
        alone[tag] = value
        if tells_location(_text(value)) or not _writable(alone):
            lost.append(tag)
        else:
            new[tag] = value
    return lost


def _text(value: object) -> str:
    """Returns the text of a tag; bytes may be UTF-8 or, in the tags of Windows, UTF-16."""
    if isinstance(value, bytes):
        return value.replace(b"\0", b"").decode("latin-1")
    return value if isinstance(value, str) else ""


def _writable(exif: Image.Exif) -> bool:
    try:
        return _serialized(exif) is not None
    except EXIF_ERRORS:
        return False


def _serialized(exif: Image.Exif) -> bytes | None:
    """Returns the block; None if it is empty.  Pillow reads texts as Latin-1 but would write "?" for its letters."""
    for directory in (exif, exif.get_ifd(EXIF_DIRECTORY)):
        for tag, value in list(directory.items()):
            if isinstance(value, str) and not value.isascii():
                directory[tag] = value.encode("latin-1", "replace")
    return exif.tobytes() if len(exif) or exif.get_ifd(EXIF_DIRECTORY) else None


def loaded(exif: bytes | None) -> Image.Exif:
    """Returns the tags of an EXIF block, with the Exif directory read."""
    tags = Image.Exif()
    if exif:
        tags.load(exif)
        tags.get_ifd(EXIF_DIRECTORY)
    return tags


def names_of(tags: Iterator[int] | list[int]) -> str:
    """Returns the names of tags for a message: at most five, then their number."""
    names = [ExifTags.TAGS.get(tag, f"0x{tag:04X}") for tag in tags]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def with_resolution(exif: bytes | None, dpi: tuple[float, float] | None) -> bytes | None:
    """Returns the block with this resolution, in dots per inch."""
    if dpi is None:
        return exif
    tags = loaded(exif)
    tags.update(resolution_tags(dpi))
    return _serialized(tags)


def resolution_tags(dpi: tuple[float, float]) -> dict[int, Any]:
    """Returns XResolution, YResolution and ResolutionUnit (TIFF 6.0, section 8)."""
    return {282: dpi[0], 283: dpi[1], 296: 2}


def fitting(exif: bytes | None, max_bytes: int) -> tuple[bytes | None, tuple[str, ...]]:
    """Remove the largest tags until the block fits.  Returns the block, and the names of the removed tags."""
    if exif is None or len(exif) <= max_bytes:
        return exif, ()
    tags, removed = loaded(exif), []
    directories = (tags, tags.get_ifd(EXIF_DIRECTORY))
    block: bytes | None = exif
    while block and len(block) > max_bytes:
        directory, tag = max(
            ((directory, tag) for directory in directories for tag in directory if tag != EXIF_DIRECTORY),
            key=lambda entry: len(str(entry[0][entry[1]])),
        )
        del directory[tag]
        removed.append(tag)
        block = _serialized(tags)
    return block, tuple(ExifTags.TAGS.get(tag, f"0x{tag:04X}") for tag in removed)


def tiff_header(exif: bytes | None, storage_tags: dict[int, Any]) -> bytes:
    """Returns the header and directories of a little-endian TIFF with the tags of `exif` and `storage_tags`."""
    header = loaded(exif)  # with the Exif directory: the next line changes the byte order
    header.endian = "<"
    header.update(storage_tags)
    block = _serialized(header)
    assert block is not None, "a TIFF has storage tags"
    return block.removeprefix(PREFIX)
