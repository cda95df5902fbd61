"""IPTC metadata of JPEG and TIFF files: credits and captions are kept, places are not (IPTC-IIM 4.2).

IIM is a list of datasets, numbered 2:05, 2:25 and so on, inside a Photoshop resource block.
"""

import struct
from collections.abc import Iterator

from models.photo.locations import tells_location

PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
IIM_RESOURCE = 0x0404
UTF_8 = b"\x1b%G"

XMP_NAMES = {
    5: "dc:title", 10: "photoshop:Urgency", 15: "photoshop:Category", 20: "photoshop:SupplementalCategories",
    25: "dc:subject", 40: "photoshop:Instructions", 55: "photoshop:DateCreated", 65: "xmp:CreatorTool",
    80: "dc:creator", 85: "photoshop:AuthorsPosition", 103: "photoshop:TransmissionReference",
    105: "photoshop:Headline", 110: "photoshop:Credit", 115: "photoshop:Source", 116: "dc:rights",
    120: "dc:description", 122: "photoshop:CaptionWriter",
}  # fmt: skip
"""The datasets that are kept, and the XMP properties that mean the same (IPTC Photo Metadata Standard)."""

SILENT = frozenset({0, 26, 27, 90, 92, 95, 100, 101})
"""Removed without a warning: the version, and places."""

Datasets = tuple[tuple[int, str], ...]


def read_iim(block: bytes) -> tuple[Datasets, tuple[str, ...]]:
    """Returns the numbers and texts of the datasets to keep, and the numbers of those that are worth a warning."""
    utf_8, kept, lost = False, [], []
    for record, number, value in _datasets(block):
        if (record, number) == (1, 90):
            utf_8 = value == UTF_8
        if record != 2 or number in SILENT:
            continue
        text = _decoded(value, utf_8)
        if number in XMP_NAMES and not tells_location(text):
            kept.append((number, text))
        else:
            lost.append(f"2:{number}")
    return tuple(kept), tuple(dict.fromkeys(lost))


def _datasets(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    while position + 5 <= len(block) and block[position] == 0x1C:
        record, number, length = struct.unpack_from(">BBH", block, position + 1)
        position += 5
        if length & 0x8000:  # an extended dataset: the length of the length
            size = length & 0x7FFF
            length = int.from_bytes(block[position : position + size], "big")
            position += size
        yield record, number, block[position : position + length]
        position += length


def _decoded(value: bytes, utf_8: bool) -> str:
    try:
        return value.decode("utf-8").strip("\0")
    except UnicodeDecodeError:
        return value.decode("utf-8" if utf_8 else "cp1252", "replace").strip("\0")


def write_iim(datasets: Datasets) -> bytes:
    """Returns the datasets in UTF-8."""
    block = _dataset(1, 90, UTF_8) + _dataset(2, 0, b"\0\4")
    return block + b"".join(_dataset(2, number, text.encode()[:0x7FFF]) for number, text in datasets)


def _dataset(record: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def photoshop_block(iim: bytes) -> bytes:
    """Returns an IIM block as a Photoshop resource (Photoshop File Formats, "Image Resource Blocks")."""
    return b"8BIM" + struct.pack(">HHI", IIM_RESOURCE, 0, len(iim)) + iim + b"\0" * (len(iim) % 2)


def iim_of_photoshop(blocks: bytes) -> bytes:
    """Returns the IIM block among Photoshop resources; empty if there is none."""
    position = 0
    while position + 12 <= len(blocks) and blocks[position : position + 4] == b"8BIM":
        resource, name_length = struct.unpack_from(">HB", blocks, position + 4)
        position += 6 + (name_length + 2) // 2 * 2
        if position + 4 > len(blocks):
            break
        length = struct.unpack_from(">I", blocks, position)[0]
        if resource == IIM_RESOURCE:
            return blocks[position + 4 : position + 4 + length]
        position += 4 + length + length % 2
    return b""
