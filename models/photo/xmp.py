"""XMP metadata: credits, captions and rights are copied into a new packet; all else stays behind (ISO 16684-1).

A property is kept only if its name is on a list, because XMP can repeat the location in many places.  Documents with a
DTD are refused, so no entity is ever expanded.
"""

import re
from collections.abc import Iterable
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from models.photo.locations import names_location, tells_location

RDF, XML = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/XML/1998/namespace"
NAMESPACES = {
    "aux": "http://ns.adobe.com/exif/1.0/aux/", "cc": "http://creativecommons.org/ns#",
    "dc": "http://purl.org/dc/elements/1.1/", "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/", "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/", "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/", "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/", "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "rdf": RDF, "xml": XML,
}  # fmt: skip
PREFIXES = {uri: prefix for prefix, uri in NAMESPACES.items()}

KEPT = {
    "aux": "Lens LensInfo SerialNumber LensSerialNumber OwnerName",
    "cc": "license attributionName attributionURL morePermissions",
    "dc": "rights creator description title subject contributor publisher source identifier date language relation "
          "type",
    "exif": "DateTimeOriginal DateTimeDigitized ExposureTime FNumber ExposureProgram ISOSpeedRatings FocalLength "
            "UserComment",
    "exifEX": "LensModel LensMake PhotographicSensitivity BodySerialNumber CameraOwnerName",
    "Iptc4xmpCore": "CreatorContactInfo SubjectCode IntellectualGenre Scene AltTextAccessibility "
                    "ExtDescrAccessibility",
    "Iptc4xmpExt": "PersonInImage OrganisationInImageName Event DigitalSourceType AddlModelInfo AISystemUsed "
                   "AISystemVersionUsed AIPromptInformation AIPromptWriterName",
    "photoshop": "Credit Source AuthorsPosition CaptionWriter Headline Instructions DateCreated "
                 "TransmissionReference Category SupplementalCategories Urgency",
    "plus": "CopyrightOwner ImageCreator ImageSupplier Licensor DataMining CopyrightStatus CreditLineRequired "
            "ModelReleaseStatus PropertyReleaseStatus Version LicensorID OtherConstraints",
    "tiff": "Make Model Artist Copyright ImageDescription Software DateTime",
    "xmp": "Rating Label CreateDate ModifyDate MetadataDate CreatorTool",
    "xmpRights": "Marked Owner UsageTerms WebStatement Certificate",
}  # fmt: skip
"""The properties that are kept, by prefix."""

SILENT_PREFIXES = frozenset({"tiff", "exif", "exifEX", "rdf", "xml"})
SILENT_NAMESPACES = ("http://ns.adobe.com/xap/1.0/mm/", "http://ns.adobe.com/hdr-gain-map/1.0/",
                     "http://ns.google.com/photos/1.0/container/", "adobe:ns:meta/")  # fmt: skip
SILENT_NAMES = frozenset({"dc:format", "photoshop:ColorMode", "photoshop:ICCProfile", "xmp:Thumbnails"})
"""Removed without a warning: how the old file stored its pixels, repetitions of EXIF, the history of the old file, and
gain maps, which have their own warning."""

HISTORY, OWN_AGENT = "xmpMM:History", "undegrade"
"""Of the history, only our own events are kept: those of other programs may hold names of files and folders."""

ALTERNATIVES = frozenset({"dc:rights", "dc:description", "dc:title", "xmpRights:UsageTerms", "exif:UserComment"})
SEQUENCES, BAGS = frozenset({"dc:creator"}), frozenset({"dc:subject", "photoshop:SupplementalCategories"})
"""Properties whose values are lists: language alternatives, ordered, and unordered."""

MAX_BYTES, MAX_DEPTH = 2**22, 8
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Properties = dict[str, str]
"""XMP names, such as "dc:rights", and their elements as XML."""


class XmpError(ValueError):
    """The packet is not XMP, has a DTD, or is too large."""


def read_xmp(packet: bytes) -> tuple[Properties, tuple[str, ...]]:
    """Returns the properties to keep, and the names of those that are worth a warning.

    Raises:
        XmpError: the packet is not XMP, has a DTD, or is too large.
    """
    kept: Properties = {}
    lost: list[str] = []
    for element in _top_properties(_parsed(packet)):
        name = _name(element.tag)
        prefix, _, local = (name or "").partition(":")
        if name == HISTORY:
            kept |= _own_history(element)
        elif name and local in KEPT.get(prefix, "").split() and not tells_location("".join(element.itertext())):
            kept[name] = _copied(element, 0)
        elif not _is_silent(element.tag, name):
            lost.append(name or element.tag.rpartition("}")[2])
    return kept, tuple(dict.fromkeys(lost))


def _own_history(element: ElementTree.Element) -> Properties:
    """Returns the history with only our own events; nothing where there are none."""
    agent = f"{{{NAMESPACES['stEvt']}}}softwareAgent"
    own = [
        event for event in element.iter(f"{{{RDF}}}li")
        if (event.get(agent) or event.findtext(f".//{agent}") or "").startswith(f"{OWN_AGENT} ")
    ]  # fmt: skip
    return (
        {HISTORY: f"<{HISTORY}><rdf:Seq>{''.join(_copied(event, 1) for event in own)}</rdf:Seq></{HISTORY}>"}
        if own
        else {}
    )


def _parsed(packet: bytes) -> ElementTree.Element:
    if len(packet) > MAX_BYTES:
        raise XmpError(f"got {len(packet):,} bytes, expected at most {MAX_BYTES:,}")
    encoding = "utf-16" if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = packet.decode(encoding).strip("\0 \t\r\n")
        if "<!" in re.sub(r"<!--|<!\[CDATA\[", "", text):
            raise XmpError("got a document with a DTD")
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeError, ValueError) as error:
        raise XmpError(str(error)) from error


def _top_properties(root: ElementTree.Element) -> Iterable[ElementTree.Element]:
    """Yield the properties of all descriptions; the short form, attributes, as elements."""
    for rdf in root.iter(f"{{{RDF}}}RDF"):
        for description in rdf.findall(f"{{{RDF}}}Description"):
            for name, value in description.attrib.items():
                if name.startswith("{"):
                    element = ElementTree.Element(name)
                    element.text = value
                    yield element
            yield from description


def _name(tag: str) -> str | None:
    """Returns the name with our prefix; None in an unknown namespace."""
    uri, _, local = tag.removeprefix("{").partition("}")
    return f"{PREFIXES[uri]}:{local}" if uri in PREFIXES else None


def _is_silent(tag: str, name: str | None) -> bool:
    uri, _, local = tag.removeprefix("{").partition("}")
    return (
        names_location(local)
        or uri.startswith(SILENT_NAMESPACES)
        or name in SILENT_NAMES
        or (name or "").partition(":")[0] in SILENT_PREFIXES
    )


def _copied(element: ElementTree.Element, depth: int) -> str:
    """Returns an element as XML, without the parts of its structures that are unknown or name a place."""
    name = _name(element.tag)
    if name is None or depth > MAX_DEPTH or (depth and not name.startswith("rdf:") and names_location(name)):
        return ""
    attributes = ""
    for key, value in element.attrib.items():
        attribute = _name(key)
        if attribute and not names_location(attribute) and attribute != "rdf:about":
            attributes += f" {attribute}={quoteattr(clean(value))}"
    children = "".join(_copied(child, depth + 1) for child in element)
    return f"<{name}{attributes}>{children or escape(clean(element.text or '').strip())}</{name}>"


def clean(text: str) -> str:
    """Returns the text without the characters that XML cannot hold."""
    return NOT_XML.sub("", text)


def property_of(name: str, values: Iterable[str]) -> str:
    """Returns the element of a property with these values."""
    texts = [escape(clean(value)) for value in values]
    if name in ALTERNATIVES:
        body = f'<rdf:Alt><rdf:li xml:lang="x-default">{"; ".join(texts)}</rdf:li></rdf:Alt>'
    elif name in SEQUENCES | BAGS:
        kind = "rdf:Seq" if name in SEQUENCES else "rdf:Bag"
        body = f"<{kind}>{''.join(f'<rdf:li>{text}</rdf:li>' for text in texts)}</{kind}>"
    else:
        body = "; ".join(texts)
    return f"<{name}>{body}</{name}>"


def has_values(element: str, values: Iterable[str]) -> bool:
    """Returns whether an element already holds each of these values."""
    return all(escape(clean(value)).strip() in element for value in values)


def packet_of(properties: Properties) -> bytes:
    """Returns a packet with these properties, in UTF-8."""
    body = "".join(properties.values())
    spaces = "".join(
        f' xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items() if prefix not in ("rdf", "xml")
        and f"{prefix}:" in body
    )  # fmt: skip
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=""{spaces}>{body}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()
