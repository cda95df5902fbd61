"""Reads and writes the metadata chunks of PNG files (PNG, third edition, section 11.3)."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = len(SIGNATURE) + 25
"""The signature and the IHDR chunk; metadata chunks follow them, before the pixels."""

MAX_CHUNKS, MAX_TEXT_BYTES, INCH_M = 200_000, 2**22, 0.0254
XMP_KEYWORD, RAW_PROFILE = "XML:com.adobe.xmp", "Raw profile type "

Texts = tuple[tuple[str, str], ...]


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and body of each chunk except the pixels."""
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 12 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            return
        if kind != b"IDAT":
            yield kind, data[position + 8 : position + 8 + length]
        position += 12 + length


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def text_of(kind: bytes, body: bytes) -> tuple[str, str] | None:
    """Returns keyword and text of a tEXt, zTXt or iTXt chunk; None for other and damaged chunks."""
    keyword, _, rest = body.partition(b"\0")
    try:
        if kind == b"tEXt":
            return keyword.decode("latin-1"), rest.decode("latin-1")
        if kind == b"zTXt":
            return keyword.decode("latin-1"), _inflated(rest[1:]).decode("latin-1")
        if kind == b"iTXt":
            value = rest[2:].split(b"\0", 2)[2]  # behind the language and the translated keyword
            return keyword.decode("latin-1"), (_inflated(value) if rest[0] else value).decode()
    except (zlib.error, UnicodeDecodeError, IndexError):
        pass
    return None


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MAX_TEXT_BYTES)


def raw_profile(text: str) -> bytes:
    """Returns the bytes of ImageMagick's "Raw profile type" texts: a name, a length, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.strip().split("\n")[2:]))
    except ValueError:
        return b""


def dpi_of(body: bytes) -> tuple[float, float] | None:
    """Returns the dots per inch of a pHYs chunk; None if it has only a ratio."""
    if len(body) < 9 or body[8] != 1:
        return None
    horizontal, vertical = struct.unpack_from(">II", body)
    return (horizontal * INCH_M, vertical * INCH_M) if horizontal and vertical else None


def metadata_chunks(
    *,
    icc: bytes | None,
    dpi: tuple[float, float] | None,
    exif: bytes | None,
    xmp: bytes | None,
    texts: Texts,
) -> bytes:
    """Returns the chunks for these metadata.  Texts are not compressed, so that any search in the file finds them."""
    found = chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)) if icc else b""
    if dpi:
        found += chunk(b"pHYs", struct.pack(">IIB", *(min(round(value / INCH_M), 2**31 - 1) for value in dpi), 1))
    found += chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b""
    for keyword, text in (*texts, *([(XMP_KEYWORD, xmp.decode())] if xmp else [])):
        found += _text_chunk(keyword, text)
    return found


def _text_chunk(keyword: str, text: str) -> bytes:
    name = keyword.encode("latin-1", "replace")[:79]
    try:
        if keyword != XMP_KEYWORD:
            return chunk(b"tEXt", name + b"\0" + text.replace("\0", "").encode("latin-1"))
    except UnicodeEncodeError:
        pass
    return chunk(b"iTXt", name + b"\0\0\0\0\0" + text.replace("\0", "").encode())


def with_chunks(png: bytes, metadata: bytes) -> bytes:
    """Returns the file with these chunks before its pixels."""
    return png[:HEADER_BYTES] + metadata + png[HEADER_BYTES:]
