"""Recognizes camera raw files by their content.

Most are TIFF files whose first picture is a small preview; the photo itself is sensor data in another directory.
"""

from models.photo.tiff_directories import SIGNATURES, Directory, Tag, all_directories

MAGIC = (
    (0, b"IIU\0", "a Panasonic raw"), (0, b"IIRO", "an Olympus raw"), (0, b"IIRS", "an Olympus raw"),
    (0, b"MMOR", "an Olympus raw"), (0, b"FUJIFILMCCD-RAW", "a Fujifilm raw"), (0, b"FOVb", "a Sigma raw"),
    (0, b"\0MRM", "a Minolta raw"), (4, b"ftypcrx ", "a Canon raw"), (6, b"HEAPCCDR", "a Canon raw"),
)  # fmt: skip
"""Offset, bytes and name.  Raw files that are TIFF files are told apart by their tags."""
TIFF_MAGIC = ((8, b"CR\x02", "a Canon raw"), (8, b"IIII", "a Phase One raw"))

SENSOR_PHOTOMETRICS = frozenset({32803, 34892})
"""Color filter array and linear raw (TIFF/EP, DNG)."""
SENSOR_COMPRESSIONS = frozenset({32767, 32769, 32770, 32867, 34713, 65000, 65535})
"""Of Sony, Epson, Samsung, Kodak, Nikon, Kodak and Pentax."""


def raw_kind(data: bytes) -> str | None:
    """Returns "a Canon raw" or similar by the first bytes of a file; None if they are not of a raw file."""
    magic = (*MAGIC, *TIFF_MAGIC) if data[:4] in SIGNATURES else MAGIC
    return next((kind for offset, sign, kind in magic if data.startswith(sign, offset)), None)


def raw_kind_of_tiff(directories: list[Directory]) -> str | None:
    """Returns the kind of raw file that has these directories; None if it is an ordinary TIFF."""
    if any(Tag.DNG_VERSION in directory.values for directory in directories):
        return "a DNG raw"
    if any(
        directory.get(Tag.PHOTOMETRIC) in SENSOR_PHOTOMETRICS or directory.get(Tag.COMPRESSION) in SENSOR_COMPRESSIONS
        for directory in all_directories(directories)
    ):
        return "a camera raw"
    first = directories[0]
    is_preview = not first.is_page and any(child.is_page for child in first.children)
    return "a camera raw" if is_preview and Tag.MAKE in first.values else None
