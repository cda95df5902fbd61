"""Which parts of a file of each format hold the metadata of a photo.

One rule: a format that has a place for a kind of metadata gets it there.  XMP has a place in every format, so other
kinds are converted to XMP.  What XMP cannot express either is named in a warning.

| kind          | jpeg            | png            | webp | tiff            | avif |
|---------------|-----------------|----------------|------|-----------------|------|
| resolution    | JFIF, EXIF      | pHYs, EXIF     | EXIF | tags 282, 283   | EXIF |
| color profile | APP2            | iCCP           | ICCP | tag 34675       | colr |
| EXIF          | APP1, 64 kB     | eXIf           | EXIF | tags            | Exif |
| XMP           | APP1, 64 kB     | iTXt           | XMP  | tag 700         | mime |
| IPTC          | APP13, 64 kB    | XMP            | XMP  | tag 33723       | XMP  |
| PNG texts     | XMP             | tEXt, iTXt     | XMP  | XMP             | XMP  |
| comments      | COM, 64 kB      | text "Comment" | XMP  | XMP             | XMP  |
"""

from dataclasses import dataclass

from models.photo import exif as exif_tags
from models.photo import iptc, jpeg_segments, xmp
from models.photo.metadata import Metadata, shortened
from models.photo.png_chunks import Texts

HAS_IPTC, HAS_TEXTS, HAS_COMMENTS = ("jpeg", "tiff"), ("png",), ("jpeg", "png")

TEXT_XMP_NAMES = {
    "Title": "dc:title", "Author": "dc:creator", "Creator": "dc:creator", "Artist": "dc:creator",
    "Description": "dc:description", "Caption": "dc:description", "Copyright": "dc:rights", "Rights": "dc:rights",
    "Software": "xmp:CreatorTool", "Source": "dc:source", "Comment": "exif:UserComment", "Credit": "photoshop:Credit",
    "Creation Time": "xmp:CreateDate", "Disclaimer": "xmpRights:UsageTerms",
}  # fmt: skip
"""The XMP properties that mean the same as a PNG text."""

MAX_XMP_BYTES = jpeg_segments.MAX_BYTES - len(jpeg_segments.XMP_PREFIX)
MAX_IPTC_BYTES = jpeg_segments.MAX_BYTES - 64


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The metadata as a file of one format holds them."""

    dpi: tuple[float, float] | None
    exif: bytes | None
    xmp: bytes | None
    iptc: bytes | None  # IIM
    texts: Texts
    comments: tuple[str, ...]
    losses: tuple[str, ...]


def carried(metadata: Metadata, exif: bytes | None, format: str) -> Carried:
    """Distribute the metadata of a photo over the parts of a file; `losses` names what found no place."""
    losses: list[str] = []
    properties, texts, comments, datasets = dict(metadata.xmp), metadata.texts, metadata.comments, metadata.iptc
    if format not in HAS_IPTC:
        _convert([(iptc.XMP_NAMES[number], text) for number, text in datasets], "IPTC", properties, losses)
        datasets = ()
    if format not in HAS_TEXTS:
        _convert_texts(texts, properties, losses)
        texts = ()
    elif comments:
        texts, comments = (*texts, *(("Comment", comment) for comment in comments)), ()
    if format not in HAS_COMMENTS:
        _convert([("exif:UserComment", comment) for comment in comments], "comment", properties, losses)
        comments = ()
    exif = exif_tags.with_resolution(exif, metadata.dpi)
    if format == "jpeg":
        exif, comments, datasets = _fit_segments(exif, comments, datasets, properties, losses)
    return Carried(
        dpi=metadata.dpi, exif=exif, xmp=xmp.packet_of(properties) if properties else None,
        iptc=iptc.write_iim(datasets) if datasets else None, texts=texts, comments=comments, losses=tuple(losses),
    )  # fmt: skip


def _convert_texts(texts: Texts, properties: xmp.Properties, losses: list[str]) -> None:
    _convert(
        [(TEXT_XMP_NAMES[keyword], text) for keyword, text in texts if keyword in TEXT_XMP_NAMES],
        "PNG text", properties, losses,
    )  # fmt: skip
    if others := [keyword for keyword, _ in texts if keyword not in TEXT_XMP_NAMES]:
        losses.append(f"PNG texts were not kept: {shortened(others)}")


def _convert(values: list[tuple[str, str]], kind: str, properties: xmp.Properties, losses: list[str]) -> None:
    """Add values to the XMP properties.  A property that the photo already has stays; another value is a loss."""
    by_name: dict[str, list[str]] = {}
    for name, value in values:
        by_name.setdefault(name, []).append(value)
    for name, texts in by_name.items():
        if name not in properties:
            properties[name] = xmp.property_of(name, texts)
        elif not xmp.has_values(properties[name], texts):
            losses.append(f"the {kind} was not kept where it differs from XMP: {name}")


def _fit_segments(
    exif: bytes | None, comments: tuple[str, ...], datasets: iptc.Datasets, properties: xmp.Properties,
    losses: list[str],
) -> tuple[bytes | None, tuple[str, ...], iptc.Datasets]:  # fmt: skip
    """Remove the largest parts that are over the size of a JPEG segment."""
    exif, removed = exif_tags.fitting(exif, jpeg_segments.MAX_BYTES)
    while properties and len(xmp.packet_of(properties)) > MAX_XMP_BYTES:
        largest = max(properties, key=lambda name: len(properties[name]))
        del properties[largest]
        removed = (*removed, largest)
    short = tuple(comment for comment in comments if len(comment.encode()) <= jpeg_segments.MAX_BYTES)
    if len(short) < len(comments):
        removed = (*removed, "a comment")
    while datasets and len(iptc.write_iim(datasets)) > MAX_IPTC_BYTES:
        largest_set = max(datasets, key=lambda dataset: len(dataset[1]))
        datasets = tuple(dataset for dataset in datasets if dataset is not largest_set)
        removed = (*removed, f"IPTC 2:{largest_set[0]}")
    if removed:
        losses.append(f"JPEG has room for 64 kB of each kind of metadata, not kept: {shortened(removed)}")
    return exif, short, datasets
