"""Finds out, before and after decoding, whether a JPEG file is a complete photo (ITU-T T.81, annex B).

libjpeg fills missing data with gray and reports it only as a warning, which Pillow hides.  So the markers are walked
here, and the coded data are decoded a second time, at an eighth of the size, by a decoder that tells its warnings.
"""

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from PIL import Image

from models.errors import PhotoError, UnsupportedPhoto

SOI, EOI, SOS, APP0 = 0xD8, 0xD9, 0xDA, 0xE0
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
LOSSLESS_FRAMES = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
HIERARCHICAL_FRAMES = frozenset({0xC5, 0xC6, 0xCD, 0xCE})
PROGRESSIVE_FRAMES = frozenset({0xC2, 0xCA})
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8), SOI})
FILL_BYTES = re.compile(rb"\xff+")
NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker in coded data: neither a stuffed 0xFF, nor a restart marker, nor a fill byte."""

MAX_SEGMENTS = 10_000
"""Cameras write about 30.  Pillow reads each with slow Python code."""
MAX_SCANS, MAX_SCAN_PIXELS = 100, 2_000_000_000
"""Encoders write 1 to 20 scans.  A scan can be nearly empty, but the decoder visits all pixels: 2 s per gigapixel."""

GRAY, GRAY_TOLERANCE = 128, 2
"""libjpeg's filling.  Pillow inverts CMYK, which gives 127."""
FILLED_PX = 8
"""The decoder fills whole blocks."""
COARSE = 20.0
"""A mean step of the brightness's quantization; libjpeg's table of quality 82 has 20.8, of quality 83 19.6."""
DAMAGE_WORDS = ("corrupt", "premature", "inconsistent progression", "unknown adobe")
"""Parts of the warnings of libjpeg that mean wrong pixels; it also warns of odd but harmless headers."""


@dataclass(kw_only=True)
class JpegStructure:
    """What the markers of a JPEG file tell."""

    frame: int = 0
    precision: int = 8
    width: int = 0
    height: int = 0
    components: dict[int, list[int]] = field(default_factory=dict)
    """For each component, the low bits still missing of its 64 coefficients; -1 while nothing is known."""
    scans: int = 0
    end: int = 0
    """Offset behind the picture: behind its end marker, or where the file breaks off."""
    ends: bool = False
    """Whether the end marker was found."""
    harmless: dict[int, bytes] = field(default_factory=dict)
    """For offsets of parameters that decoders ignore, their usual values."""

    @property
    def is_incomplete(self) -> bool:
        """Whether a scan is missing.  If the file has an end, only the first counts: encoders may leave detail out."""
        detailed = self.frame in PROGRESSIVE_FRAMES and not self.ends
        return any((any(bits) if detailed else bits[0] < 0) for bits in self.components.values())


def read_structure(data: bytes, name: str) -> JpegStructure:
    """Walk the markers up to the end of the first picture.

    Raises:
        UnsupportedPhoto: there are more segments or scans than a photo has.
    """
    found, position = JpegStructure(), 2
    for _ in range(MAX_SEGMENTS):
        start = position
        prefix = FILL_BYTES.search(data, position)  # like libjpeg, it skips garbage between segments
        position = prefix.end() if prefix else len(data)
        marker = data[position] if position < len(data) else None
        position += 1
        if marker in WITHOUT_LENGTH:
            continue
        if marker == EOI:
            found.end, found.ends = position, True
            return found
        length = struct.unpack_from(">H", data, position)[0] if position + 2 <= len(data) else 0
        body = data[position + 2 : position + length]
        if marker is None or length < 2 or len(body) < length - 2:
            found.end = min(start, len(data))
            return found
        if marker == APP0 and body.startswith(b"JFIF\0"):
            found.harmless[position + 7] = b"\1"  # the major version
        if marker == SOS and found.frame not in PROGRESSIVE_FRAMES and length >= 5:
            found.harmless[position + length - 3] = b"\0\x3f\0"  # the coefficients of a sequential scan: all
        position += length
        if marker in FRAMES and not found.frame:
            _read_frame(found, marker, body)
        if marker == SOS:
            _read_scan(found, body, name)
            match = NEXT_MARKER.search(data, position)
            position = match.start() if match else len(data)
    raise UnsupportedPhoto(f"{name} has more than {MAX_SEGMENTS:,} JPEG segments, expected about 30. Save it again.")


def _read_frame(found: JpegStructure, marker: int, body: bytes) -> None:
    if len(body) >= 6:
        found.frame = marker
        found.precision, found.height, found.width, count = struct.unpack_from(">BHHB", body)
        found.components = {number: [-1] * 64 for number in body[6 : 6 + 3 * count : 3]}


def _read_scan(found: JpegStructure, body: bytes, name: str) -> None:
    found.scans += 1
    if found.scans > MAX_SCANS or found.scans * found.width * found.height > MAX_SCAN_PIXELS:
        raise UnsupportedPhoto(
            f"{name} has {found.scans} or more JPEG scans of {found.width} x {found.height} px: decoding it would take "
            "too long. Photos have 1 to 20 scans. Save it again."
        )
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        return
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    for number in body[1 : 1 + 2 * count : 2]:
        if number in found.components and first <= last < 64:
            found.components[number][first : last + 1] = [bits & 15] * (last + 1 - first)


def unsupported_jpeg(found: JpegStructure) -> str | None:
    """Returns the name of a kind of JPEG that is not read ("a 12-bit JPEG"); None for the others."""
    if found.frame in LOSSLESS_FRAMES:
        return f"a lossless JPEG with {found.precision} bits a sample"
    if found.precision != 8:
        return f"a {found.precision}-bit JPEG"
    return "a hierarchical JPEG" if found.frame in HIERARCHICAL_FRAMES else None


def repaired(data: bytes, structure: JpegStructure) -> bytes:
    """Returns a file that decoders read to its end: the end marker is added if it is missing.

    A recovered file may end in one repeated byte in place of its data; that filling is cut off.
    """
    if structure.ends:
        return data
    whole = data[: structure.end] + bytes((0xFF, EOI))
    if damage_of(whole) is None:
        return whole
    return data[: structure.end].rstrip(data[structure.end - 1 : structure.end]) + bytes((0xFF, EOI))


def damage_of(data: bytes) -> str | None:
    """Returns the decoder's first warning of wrong pixels; None if there is none.

    Only its first warning is known, so the causes of harmless ones are removed first.
    """
    for place, usual in read_structure(data, "the picture").harmless.items():
        if data[place : place + len(usual)] != usual:
            data = data[:place] + usual + data[place + len(usual) :]
    try:
        colorspace = "CMYK" if simplejpeg.decode_jpeg_header(data)[2] in ("CMYK", "YCCK") else "GRAY"
        simplejpeg.decode_jpeg(
            data, colorspace, min_factor=8, min_height=1, min_width=1, fastdct=True, fastupsample=True, strict=True
        )
    except ValueError as error:
        reason = str(error)
        return reason if any(word in reason.lower() for word in DAMAGE_WORDS) else None
    return None


def damage_warning(image: Image.Image, data: bytes, structure: JpegStructure, name: str) -> str | None:
    """Returns a sentence about what is missing of a decoded JPEG; None if nothing is.

    Args:
        image: the decoded picture, before its orientation is applied.
        data: the file that it was decoded from, from `repaired`.

    Raises:
        PhotoError: no row could be read.
    """
    damage = damage_of(data[: structure.end] if structure.ends else data)
    if damage is None and not structure.is_incomplete:
        return None
    damage = damage or "a scan is missing"
    cut = structure.is_incomplete or "premature" in damage.lower()
    rows = complete_rows(image) if cut or not structure.ends or "instead of rst" in damage.lower() else image.height
    if rows == 0:
        raise PhotoError(f"{name} is damaged or truncated ({damage}). Download or save it again.")
    if rows < image.height:
        lost = max(1, round(100 * (1 - rows / image.height)))
        return f"{name} is cut or damaged: {lost} % of its rows, at the bottom, could not be read and are partly gray"
    if cut and structure.frame in PROGRESSIVE_FRAMES:
        return f"{name} is cut or damaged: 100 % of its rows were read, but some without their fine detail"
    if cut:
        return f"{name} is cut or damaged: all but the last pixels (less than 1 % of its rows) were read"
    return f"{name} is damaged ({damage}): 100 % of its rows were read, but an unknown part may look wrong"


def complete_rows(image: Image.Image) -> int:
    """Returns the number of rows above the first that ends in gray filling; all rows below it do so as well."""
    samples = np.asarray(image)
    tail = (np.abs(samples[:, -FILLED_PX:].astype(np.int16) - GRAY) <= GRAY_TOLERANCE).reshape(len(samples), -1)
    complete = np.flatnonzero(~tail.all(axis=1))
    return int(complete[-1]) + 1 if len(complete) else 0


def coarsely_quantized(tables: Mapping[int, Sequence[int]]) -> bool:
    """Whether a file has lost visible details, by its quantization tables as Pillow gives them; no tables: no."""
    brightness = tables.get(0, ())
    return len(brightness) > 0 and sum(brightness) / len(brightness) >= COARSE
