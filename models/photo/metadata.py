"""What a photo file holds beside its pixels, ICC profile and EXIF: resolution, XMP, IPTC, texts, comments.

`read_metadata` keeps credits, captions and rights, drops every place, and names whatever else it drops.
carriers.py says how a file of each format holds them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from models.photo import avif, iptc, jpeg_segments, png_chunks, resolution, xmp
from models.photo.exif import exif_losses
from models.photo.iptc import Datasets
from models.photo.locations import tells_location
from models.photo.png_chunks import RAW_PROFILE, XMP_KEYWORD, Texts
from models.photo.xmp import Properties

TEXT_KEYWORDS = ("Title", "Author", "Description", "Copyright", "Creation Time", "Software", "Disclaimer", "Warning",
                 "Source", "Comment", "Collection", "Artist", "Credit", "Caption", "Rights", "Creator")  # fmt: skip
"""PNG texts that are kept: the registered keywords, and words for credits.  Other programs' texts may hold anything."""
SILENT_KEYWORDS = ("date:create", "date:modify", "date:timestamp")

BITS_TAG, XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 258, 700, 33723, 34377
GAIN_MAP_LOSS = "the HDR gain map was not kept: the result is the photo's standard range (SDR)"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Metadata that are safe to write."""

    dpi: tuple[float, float] | None = None  # horizontal and vertical, of the upright photo
    xmp: Properties = field(default_factory=dict)
    iptc: Datasets = ()
    texts: Texts = ()  # keywords and texts of a PNG
    comments: tuple[str, ...] = ()  # of a JPEG

    def without_words(self) -> "Metadata":
        """Returns only what describes the picture, and nobody: its resolution."""
        return Metadata(dpi=self.dpi)


@dataclass(kw_only=True)
class RawMetadata:
    """The metadata as they lie in the file."""

    xmp: list[bytes] = field(default_factory=list)
    iptc: list[bytes] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    comments: list[bytes] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)


def read_metadata(data: bytes, image: Image.Image, format: str) -> tuple[Metadata, tuple[str, ...]]:
    """Returns the metadata to keep, and a warning for each part that is not kept.

    Args:
        image: the same file, opened and loaded by Pillow.
    """
    readers = {"jpeg": _of_jpeg, "png": _of_png, "tiff": _of_tiff}
    raw = readers[format](data, image) if format in readers else _of_pillow(image)
    if jpeg_segments.has_gain_map(data) or (format == "avif" and avif.has_gain_map(data)):
        raw.losses.append(GAIN_MAP_LOSS)
    properties = _kept_xmp(raw)
    datasets = _kept_iptc(raw)
    texts = tuple(_kept_texts(raw))
    comments = tuple(_kept_comments(raw))
    dpi, resolution_losses = resolution.read_dpi(data, image, format)
    metadata = Metadata(dpi=dpi, xmp=properties, iptc=datasets, texts=texts, comments=comments)
    return metadata, tuple(dict.fromkeys((*exif_losses(image), *raw.losses, *resolution_losses)))


def depth_loss(data: bytes, image: Image.Image, format: str, bits: int) -> tuple[str, ...]:
    """Returns a warning if the file has more bits a sample than the `bits` of its decoded pixels."""
    source = avif.depth_of(data) if format == "avif" else 8
    if format == "tiff":
        source = max(getattr(image, "tag_v2", {}).get(BITS_TAG, (8,)))
    return (f"the photo was read with {bits} bits a sample: it has {source}",) if source > bits else ()


def _of_jpeg(data: bytes, image: Image.Image) -> RawMetadata:
    raw, photoshop = RawMetadata(), b""
    for marker, body in jpeg_segments.segments(data):
        if marker == jpeg_segments.APP1 and body.startswith(jpeg_segments.XMP_PREFIX):
            raw.xmp.append(body.removeprefix(jpeg_segments.XMP_PREFIX))
        elif marker == jpeg_segments.APP1 and body.startswith(jpeg_segments.EXTENDED_XMP_PREFIX):
            raw.losses.append("the extended part of the XMP was not kept")
        elif marker == jpeg_segments.APP13 and body.startswith(iptc.PHOTOSHOP_PREFIX):
            photoshop += body.removeprefix(iptc.PHOTOSHOP_PREFIX)
        elif marker == jpeg_segments.COMMENT:
            raw.comments.append(body)
    raw.iptc.append(iptc.iim_of_photoshop(photoshop))
    return raw


def _of_png(data: bytes, image: Image.Image) -> RawMetadata:
    raw = RawMetadata()
    for kind, body in png_chunks.chunks(data):
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        found = png_chunks.text_of(kind, body)
        if found is None:
            raw.losses.append("a damaged PNG text was not kept")
            continue
        keyword, text = found
        profile = keyword.removeprefix(RAW_PROFILE).lower() if keyword.startswith(RAW_PROFILE) else None
        if keyword == XMP_KEYWORD:
            raw.xmp.append(text.encode())
        elif profile == "xmp":
            raw.xmp.append(png_chunks.raw_profile(text))
        elif profile in ("iptc", "8bim"):
            block = png_chunks.raw_profile(text)
            raw.iptc.append(iptc.iim_of_photoshop(block) if block.startswith(b"8BIM") else block)
        elif profile not in ("exif", "app1", "icc", "icm"):  # Pillow reads these
            raw.texts.append(found)
    return raw


def _of_tiff(data: bytes, image: Image.Image) -> RawMetadata:
    tags = getattr(image, "tag_v2", {})
    raw = RawMetadata()
    if packet := _tag_bytes(tags.get(XMP_TAG)):
        raw.xmp.append(packet)
    raw.iptc.append(_tag_bytes(tags.get(IPTC_TAG), tags) or iptc.iim_of_photoshop(_tag_bytes(tags.get(PHOTOSHOP_TAG))))
    return raw


def _tag_bytes(value: object, tags: object = None) -> bytes:
    """Returns the bytes of a TIFF tag; some programs store IPTC as 32-bit numbers."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    if isinstance(value, tuple) and all(isinstance(number, int) for number in value):
        order = "little" if getattr(tags, "prefix", b"II") == b"II" else "big"
        return b"".join(number.to_bytes(4, order) for number in value)
    return b""


def _of_pillow(image: Image.Image) -> RawMetadata:
    packet = image.info.get("xmp")
    return RawMetadata(xmp=[packet] if isinstance(packet, bytes) and packet else [])


def _kept_xmp(raw: RawMetadata) -> Properties:
    properties: Properties = {}
    for packet in raw.xmp:
        try:
            kept, lost = xmp.read_xmp(packet)
        except xmp.XmpError:
            raw.losses.append("damaged XMP was not kept")
            continue
        properties |= kept
        if lost:
            raw.losses.append(f"XMP properties were not kept: {shortened(lost)}")
    return properties


def _kept_iptc(raw: RawMetadata) -> Datasets:
    datasets: Datasets = ()
    for block in raw.iptc:
        kept, lost = iptc.read_iim(block)
        datasets += kept
        if lost:
            raw.losses.append(f"IPTC datasets were not kept: {shortened(lost)}")
    return datasets


def _kept_texts(raw: RawMetadata) -> Iterator[tuple[str, str]]:
    lost = []
    for keyword, text in raw.texts:
        if keyword in TEXT_KEYWORDS and not tells_location(text):
            yield keyword, text
        elif keyword not in SILENT_KEYWORDS and not keyword.startswith(("exif:", "tiff:")):
            lost.append(keyword)
    if lost:
        raw.losses.append(f"PNG texts were not kept: {shortened(lost)}")


def _kept_comments(raw: RawMetadata) -> Iterator[str]:
    for body in raw.comments:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            text = body.decode("latin-1")
        if tells_location(text):
            raw.losses.append("a comment that tells a location was not kept")
        elif text := text.strip("\0"):
            yield text


def shortened(names: tuple[str, ...] | list[str]) -> str:
    """Returns at most five names for a message, then the number of the others."""
    return ", ".join(name[:60] for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
