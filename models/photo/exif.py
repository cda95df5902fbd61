"""What a photo's EXIF keeps through a restoration: who, when and how; neither the place nor what the pixels changed.

The orientation is applied to the pixels, so it goes; so do sizes, strips and thumbnails, which describe the old file.
Copies of the place in XMP, IPTC and Photoshop's own tags go as well.
"""

import struct
from typing import Any

from PIL import ExifTags, Image

STRUCTURE = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292, 293, 297}
    | {301, 317, 318, 319, 320, *range(321, 348), *range(512, 522), 529, 530, 531, 532, 559, 33421, 33422}
)
"""TIFF tags that say how the old file stored its pixels (TIFF 6.0, sections 3 to 23; TIFF/EP)."""

COPIES = frozenset({700, 33723, 34377, 34675, 37724})
"""XMP, IPTC, Photoshop's resources (each may repeat the place), and the ICC profile, which is carried by itself."""

POINTERS = frozenset({int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo), int(ExifTags.IFD.Interop)})

DROPPED = STRUCTURE | COPIES | POINTERS | {int(ExifTags.Base.Orientation)}

DROPPED_DETAILS = frozenset(
    {int(ExifTags.IFD.Interop), int(ExifTags.Base.ExifImageWidth), int(ExifTags.Base.ExifImageHeight)}
)
"""In the Exif directory: offsets into the old file, and a size that turning the picture swaps."""

Damage = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError, OSError, struct.error)
"""What Pillow raises on EXIF that is cut short or lies about its types."""


def orientation_of(image: Image.Image) -> int:
    """1 to 8; 1 where the file says nothing, or nonsense."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Damage:
        return 1
    return found if found in range(1, 9) else 1


def carried_exif(image: Image.Image) -> bytes | None:
    """The EXIF block for the new file, with its "Exif\\0\\0"; None where nothing is left, or nothing can be read."""
    new = Image.Exif()
    try:
        old = image.getexif()
        new.update({tag: value for tag, value in old.items() if tag not in DROPPED})
        details = old.get_ifd(ExifTags.IFD.Exif)
        new.get_ifd(ExifTags.IFD.Exif).update({t: value for t, value in details.items() if t not in DROPPED_DETAILS})
        return new.tobytes() if len(new) or new.get_ifd(ExifTags.IFD.Exif) else None
    except Damage:
        return None  # a photo is worth more than its notes


def tiff_header(block: bytes | None, structure: dict[int, Any]) -> bytes:
    """The head and the directories of a little-endian TIFF: the EXIF block's tags and `structure`'s."""
    header = Image.Exif()
    if block:
        header.load(block)
        header.get_ifd(ExifTags.IFD.Exif)  # read while the block's own byte order holds
    header.endian = "<"
    header.update(structure)
    return header.tobytes().removeprefix(b"Exif\0\0")
