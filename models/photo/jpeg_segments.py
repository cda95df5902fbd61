"""Reads and writes the metadata segments of JPEG files (ITU-T T.81, annex B; JFIF 1.02)."""

import struct
from collections.abc import Iterator

APP0, APP1, APP2, APP13, COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xFE
SOS, EOI = 0xDA, 0xD9
XMP_PREFIX, EXTENDED_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"

MAX_SEGMENTS, MAX_BYTES = 10_000, 65_533
"""The size limit of a segment's body."""


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of each segment before the coded pixels."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        while data[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        if position + 4 > len(data) or data[position] != 0xFF:
            return
        marker, length = struct.unpack_from(">BH", data, position + 1)
        if marker in (SOS, EOI):
            return
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + length


def with_segments(jpeg: bytes, new: list[tuple[int, bytes]]) -> bytes:
    """Returns the file with more segments, before its tables."""
    position = 2
    for marker, body in segments(jpeg):
        if marker not in range(APP0, 0xF0):
            break
        position += 4 + len(body)
    added = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in new)
    return jpeg[:position] + added + jpeg[position:]


GAIN_MAP_MARKS = (
    b"http://ns.adobe.com/hdr-gain-map/", b"urn:iso:std:iso:ts:21496:-1", b"http://ns.apple.com/HDRGainMap/",
    b"urn:com:apple:photo:2020:aux:hdrgainmap",
)  # fmt: skip
"""Adobe's and Android's Ultra HDR, ISO 21496-1, and Apple's two names."""


def has_gain_map(data: bytes) -> bool:
    """Returns whether a file of any format holds a gain map, which makes a standard picture an HDR picture."""
    return any(mark in data for mark in GAIN_MAP_MARKS)
