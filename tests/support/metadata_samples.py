"""Photo files with one kind of metadata each, built with Pillow or byte by byte, and what they say."""

import io
import struct
import zlib

from photo_samples import RGB, encoded
from PIL import Image, PngImagePlugin

CREDIT, PLACE, LATITUDE = "(c) Jörg Doe", "Atlantis-City", "48.858412"
FORMATS = ("jpeg", "png", "webp", "tiff", "avif")


def xmp_packet(credit: str = CREDIT, extra: str = "") -> bytes:
    """A packet as Lightroom writes it, with a place in every usual property."""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmp:Rating="5" exif:GPSLatitude="{LATITUDE}" photoshop:City="{PLACE}" photoshop:Country="{PLACE}"'
        f' photoshop:State="{PLACE}">'
        f'<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{credit}</rdf:li></rdf:Alt></dc:rights>'
        f"<dc:coverage>{PLACE}</dc:coverage><Iptc4xmpCore:Location>{PLACE}</Iptc4xmpCore:Location>"
        "<Iptc4xmpCore:CreatorContactInfo rdf:parseType='Resource'><Iptc4xmpCore:CiEmailWork>jane@doe.example"
        f"</Iptc4xmpCore:CiEmailWork><Iptc4xmpCore:CiAdrCity>{PLACE}</Iptc4xmpCore:CiAdrCity>"
        "</Iptc4xmpCore:CreatorContactInfo><Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li rdf:parseType='Resource'>"
        f"<Iptc4xmpExt:City>{PLACE}</Iptc4xmpExt:City></rdf:li></rdf:Bag></Iptc4xmpExt:LocationCreated>"
        f"{extra}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def iim(*datasets: tuple[int, str]) -> bytes:
    block = struct.pack(">BBBH", 0x1C, 1, 90, 3) + b"\x1b%G"
    for number, text in datasets:
        block += struct.pack(">BBBH", 0x1C, 2, number, len(text.encode())) + text.encode()
    return block


IPTC = iim((80, "Jane Doe"), (116, CREDIT), (120, "a caption"), *((number, PLACE) for number in (90, 92, 95, 101)))
TEXTS = {"Copyright": CREDIT, "Title": "a title", "Raw profile type exif?": PLACE, "GPSLatitude": LATITUDE}


def photoshop(block: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(block)) + block + b"\0" * (len(block) % 2)


def jpeg_with(segments: list[tuple[int, bytes]], **options: object) -> bytes:
    """The sample pixels as JPEG with these segments directly behind SOI."""
    data = encoded(Image.fromarray(RGB), "jpeg", **options)
    body = b"".join(struct.pack(">BBH", 0xFF, marker, len(value) + 2) + value for marker, value in segments)
    return data[:2] + body + data[2:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: tuple[bytes, bytes], image: Image.Image | None = None) -> bytes:
    """The sample pixels as PNG with these chunks before them."""
    data = encoded(image or Image.fromarray(RGB), "png")
    return data[:33] + b"".join(png_chunk(kind, body) for kind, body in chunks) + data[33:]


def raw_profile(kind: str, value: bytes) -> tuple[str, str]:
    return f"Raw profile type {kind}", f"\n{kind}\n{len(value):8}\n{value.hex()}\n"


def texts_png(*texts: tuple[str, str]) -> bytes:
    info = PngImagePlugin.PngInfo()
    for index, (keyword, text) in enumerate(texts):
        (info.add_text, info.add_itxt)[index % 2](keyword, text)
    return encoded(Image.fromarray(RGB), "png", pnginfo=info)


def with_xmp(format: str, packet: bytes) -> bytes:
    if format == "png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        return encoded(Image.fromarray(RGB), "png", pnginfo=info)
    if format == "tiff":
        return encoded(Image.fromarray(RGB), "tiff", tiffinfo={700: packet})
    return encoded(Image.fromarray(RGB), format, xmp=packet)


def with_iptc(format: str, block: bytes) -> bytes:
    if format == "jpeg":
        return jpeg_with([(0xED, b"Photoshop 3.0\0" + photoshop(block))])
    if format == "tiff":
        return encoded(Image.fromarray(RGB), "tiff", tiffinfo={33723: block})
    return texts_png(raw_profile("iptc", photoshop(block)))


def with_exif(format: str, exif: Image.Exif) -> bytes:
    return encoded(Image.fromarray(RGB), format, exif=exif.tobytes())


def xmp_of(data: bytes) -> str:
    """The packet of a written file, as Pillow finds it."""
    with Image.open(io.BytesIO(data)) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        return packet if isinstance(packet, str) else packet.decode()
