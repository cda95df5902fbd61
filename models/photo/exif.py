"""EXIF metadata that is safe to copy to the restored file.

Camera, date and exposure are kept.  The location, the orientation (it is applied to the pixels) and every tag that
describes how the old file stored its pixels (sizes, strips, thumbnails) are removed.  XMP, IPTC and Photoshop tags are
removed as well, because each may repeat the location.
"""

import struct
from typing import Any

from PIL import ExifTags, Image

STORAGE_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292, 293, 297}
    | {301, 317, 318, 319, 320, *range(321, 348), *range(512, 522), 529, 530, 531, 532, 559, 33421, 33422}
)
"""TIFF tags that describe how the old file stored its pixels (TIFF 6.0, sections 3 to 23; TIFF/EP)."""

EMBEDDED_METADATA_TAGS = frozenset({700, 33723, 34377, 34675, 37724})
"""XMP, IPTC and Photoshop resources, which may repeat the location, and the ICC profile, which is copied separately."""

DIRECTORY_TAGS = frozenset({int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo), int(ExifTags.IFD.Interop)})

REMOVED_TAGS = STORAGE_TAGS | EMBEDDED_METADATA_TAGS | DIRECTORY_TAGS | {int(ExifTags.Base.Orientation)}

REMOVED_EXIF_DIRECTORY_TAGS = frozenset(
    {int(ExifTags.IFD.Interop), int(ExifTags.Base.ExifImageWidth), int(ExifTags.Base.ExifImageHeight)}
)
"""Tags of the Exif directory that hold an offset into the old file, or a size that the orientation may swap."""

EXIF_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError, OSError, struct.error)
"""Exceptions that Pillow raises for EXIF that is truncated or has wrong types."""


def exif_to_keep(image: Image.Image) -> bytes | None:
    """Returns the EXIF block for the new file, with its "Exif\\0\\0" prefix; None if nothing is left or readable."""
    new = Image.Exif()
    try:
        old = image.getexif()
        new.update({tag: value for tag, value in old.items() if tag not in REMOVED_TAGS})
        details = old.get_ifd(ExifTags.IFD.Exif)
        kept = {tag: value for tag, value in details.items() if tag not in REMOVED_EXIF_DIRECTORY_TAGS}
        new.get_ifd(ExifTags.IFD.Exif).update(kept)
        return new.tobytes() if len(new) or new.get_ifd(ExifTags.IFD.Exif) else None
    except EXIF_ERRORS:
        return None  # damaged metadata must not stop the restoration of the photo


def tiff_header(exif: bytes | None, storage_tags: dict[int, Any]) -> bytes:
    """Returns the header and directories of a little-endian TIFF with the tags of `exif` and `storage_tags`."""
    header = Image.Exif()
    if exif:
        header.load(exif)
        header.get_ifd(ExifTags.IFD.Exif)  # read it now: the next line changes the byte order
    header.endian = "<"
    header.update(storage_tags)
    return header.tobytes().removeprefix(b"Exif\0\0")
