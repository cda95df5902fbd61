"""Every property of a photo is in the written file, or a warning names it: over all pairs of formats.

Files are built and read by Pillow, or byte by byte.
"""

import io

import numpy as np
import pytest
from metadata_samples import (
    CREDIT,
    FORMATS,
    IPTC,
    LATITUDE,
    PLACE,
    jpeg_with,
    raw_profile,
    texts_png,
    with_exif,
    with_iptc,
    with_xmp,
    xmp_of,
    xmp_packet,
)
from photo_samples import RGB, SRGB, decoded, encoded
from PIL import ExifTags, Image

from models.photo.read import Photo, read_photo
from models.photo.write import conversion_warnings, encode_photo

EXIF = ExifTags.IFD.Exif
each_target = pytest.mark.parametrize("target", FORMATS)
each_source = pytest.mark.parametrize("source", FORMATS)


def restored(data: bytes, target: str) -> tuple[bytes, str]:
    """The file that strength 0 writes, and all warnings."""
    photo = read_photo(data)
    return encode_photo(photo, target), "\n".join((*photo.warnings, *conversion_warnings(photo, target)))


def dpi_of(data: bytes) -> tuple[float, float] | None:
    with Image.open(io.BytesIO(data)) as image:
        if "dpi" in image.info:
            return image.info["dpi"]
        exif = image.getexif()
        return (exif[282], exif[283]) if 282 in exif and exif[296] == 2 else None


def with_dpi(format: str, dpi: tuple[float, float], orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if format in ("webp", "avif"):
        exif.update({282: dpi[0], 283: dpi[1], 296: 2})
    return encoded(Image.fromarray(RGB), format, exif=exif.tobytes(), dpi=dpi)


@pytest.mark.parametrize("dpi", [(300, 300), (72, 96), (72.5, 72.5)])
@each_source
@each_target
def test_the_resolution_survives(source, target, dpi):
    data = with_dpi(source, dpi)
    expected = dpi_of(data)  # JFIF of Pillow rounds 72.5
    written, warnings = restored(data, target)
    assert dpi_of(written) == pytest.approx(expected, abs=0.1)
    assert "resolution" not in warnings


@each_source
def test_a_turned_photo_has_a_turned_resolution(source):
    written, _ = restored(with_dpi(source, (72, 144), orientation=6), "png")
    assert dpi_of(written) == pytest.approx((144, 72), abs=0.1)


@pytest.mark.parametrize("unit", [2, 3])
@each_target
def test_the_resolution_of_exif_alone_counts(target, unit):
    exif = Image.Exif()
    exif.update({282: 100.0, 283: 100.0, 296: unit})
    written, _ = restored(with_exif("jpeg", exif), target)
    assert dpi_of(written) == pytest.approx((100, 100) if unit == 2 else (254, 254), abs=0.1)


@pytest.mark.parametrize("gray", [False, True])
@each_source
@each_target
def test_the_color_profile_survives_or_keeps_its_meaning(source, target, gray):
    if gray and source == "webp":
        pytest.skip("the format has no gray")
    profile = SRGB[:16] + b"GRAY" + SRGB[20:] if gray else SRGB
    data = encoded(Image.fromarray(RGB[..., 0] if gray else RGB), source, icc_profile=profile)
    written, warnings = restored(data, target)
    if gray and target == "webp":
        assert "icc_profile" in decoded(written).info or "profile" in warnings
    else:
        assert decoded(written).info["icc_profile"] == profile


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif.update({271: "Maker", 315: "Jörg".encode("latin-1"), 33432: CREDIT.encode("latin-1")})
    details = exif.get_ifd(EXIF)
    details.update(
        {36867: "2026:11:21 10:00:00", 33434: 0.01, 34855: 200, 37510: b"ASCII\0\0\0hello", 42036: "Lens 50"}
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 30.25)})
    return exif


@each_source
@each_target
def test_exif_survives_with_its_letters(source, target):
    data = with_exif(source, camera_exif())
    written, warnings = restored(data, target)
    with Image.open(io.BytesIO(written)) as image, Image.open(io.BytesIO(data)) as before:
        found = image.getexif()
        assert found[271] == "Maker"
        for tag in (315, 33432):
            assert found[tag] == before.getexif()[tag]
            assert source == "tiff" or "ö" in found[tag]  # Pillow's TIFF has a "?" already
        details = found.get_ifd(EXIF)
        assert details[36867] == "2026:11:21 10:00:00" and details[34855] == 200 and details[42036] == "Lens 50"
        assert details[33434] == pytest.approx(0.01) and bytes(details[37510]) == b"ASCII\0\0\0hello"
        assert not found.get_ifd(ExifTags.IFD.GPSInfo)
    assert "EXIF" not in warnings


@each_source
@each_target
def test_xmp_credits_survive(source, target):
    written, warnings = restored(with_xmp(source, xmp_packet()), target)
    packet = xmp_of(written)
    assert f'<rdf:li xml:lang="x-default">{CREDIT}</rdf:li>' in packet
    assert "<xmp:Rating>5</xmp:Rating>" in packet and "jane@doe.example" in packet
    assert "XMP" not in warnings


@pytest.mark.parametrize("source", ["jpeg", "tiff", "png"])
@each_target
def test_iptc_credits_survive_as_iptc_or_as_xmp(source, target):
    written, warnings = restored(with_iptc(source, IPTC), target)
    for value in ("Jane Doe", CREDIT, "a caption"):
        assert value.encode() in written
    if target in ("jpeg", "tiff"):
        from PIL import IptcImagePlugin

        with Image.open(io.BytesIO(written)) as image:
            assert IptcImagePlugin.getiptcinfo(image)[2, 116] == CREDIT.encode()
    else:
        assert CREDIT in xmp_of(written)
    assert "IPTC" not in warnings


@each_target
def test_png_texts_survive_as_texts_or_as_xmp(target):
    written, warnings = restored(texts_png(("Copyright", CREDIT), ("Title", "日本 title"), ("Warning", "odd")), target)
    if target == "png":
        assert decoded(written).text == {"Copyright": CREDIT, "Title": "日本 title", "Warning": "odd"}
    else:
        assert CREDIT in xmp_of(written) and "日本 title" in xmp_of(written)
        assert "Warning" in warnings


@each_target
def test_a_jpeg_comment_survives(target):
    written, _ = restored(encoded(Image.fromarray(RGB), "jpeg", comment=CREDIT.encode()), target)
    if target == "jpeg":
        assert decoded(written).info["comment"] == CREDIT.encode()
    elif target == "png":
        assert decoded(written).text == {"Comment": CREDIT}
    else:
        assert CREDIT in xmp_of(written)


def makernote_exif() -> Image.Exif:
    exif = camera_exif()
    exif.get_ifd(EXIF)[37500] = b"Canon\0" + f"LANDMARK {PLACE} {LATITUDE}".encode()
    exif[40092] = f"XP {LATITUDE}".encode("utf-16-le")
    exif[50341] = b"PrintIM"
    return exif


def places() -> list[bytes]:
    """Files with a place or coordinates in every kind of metadata."""
    files = [with_exif(source, makernote_exif()) for source in FORMATS]
    files += [with_xmp(source, xmp_packet()) for source in FORMATS]
    files += [with_iptc(source, IPTC) for source in ("jpeg", "tiff", "png")]
    nested = f"<plus:x>{PLACE}</plus:x>"
    files += [
        texts_png(
            raw_profile("xmp", xmp_packet()), raw_profile("iptc", IPTC), raw_profile("8bim", PLACE.encode()),
            raw_profile("APP1", b"Exif\0\0" + PLACE.encode()), ("Comment", f"at {LATITUDE}"), ("GPSLatitude", PLACE),
            ("Description", f"exif:GPSLatitude={PLACE}"), ("parameters", PLACE),
        ),
        encoded(Image.fromarray(RGB), "jpeg", comment=f"lat: {LATITUDE}".encode()),
        with_xmp("jpeg", xmp_packet(extra=f"<dc:title>{LATITUDE}</dc:title>")),
        with_xmp("webp", xmp_packet(extra=f'<q:GeoTag xmlns:q="urn:q">{PLACE}</q:GeoTag>')),
        with_xmp("webp", b"\xff\xfe" + xmp_packet().decode().encode("utf-16-le")),
        jpeg_with([(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + nested.encode())]),
        encoded(Image.fromarray(RGB), "tiff", tiffinfo={34737: f"{PLACE}|", 42112: f"<GDAL>{PLACE}</GDAL>"}),
    ]  # fmt: skip
    return files


@pytest.mark.parametrize("index", range(len(places())))
@each_target
def test_no_file_holds_a_place(index, target):
    data = places()[index]
    written, _ = restored(data, target)
    for secret in (PLACE, LATITUDE):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert secret.encode(encoding) not in written


@each_source
def test_a_maker_note_is_named(source):
    _, warnings = restored(with_exif(source, makernote_exif()), "png")
    assert "maker note" in warnings and "XPComment" in warnings


def test_what_is_dropped_is_named():
    extra = '<crs:Exposure xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/">1</crs:Exposure>'
    assert "Exposure" in restored(with_xmp("png", xmp_packet(extra=extra)), "png")[1]
    assert "damaged XMP" in restored(with_xmp("png", b"<x:xmpmeta"), "png")[1]
    assert "2:12" in restored(with_iptc("jpeg", b"\x1c\x02\x0c\x00\x01x"), "jpeg")[1]
    assert "parameters" in restored(texts_png(("parameters", "steps: 20")), "png")[1]
    assert (
        "differs from XMP: dc:rights"
        in restored(
            jpeg_with(
                [(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x74\0\x03Bob")], xmp=xmp_packet()
            ),
            "png",
        )[1]
    )
    exif = camera_exif()
    exif[0xC7A1] = "private"
    assert "0xC7A1" in restored(with_exif("jpeg", exif), "jpeg")[1]


def test_metadata_over_64_kb_lose_only_their_largest_parts_in_a_jpeg():
    exif = camera_exif()
    exif[270] = "x" * 70_000
    written, warnings = restored(with_exif("png", exif), "jpeg")
    with Image.open(io.BytesIO(written)) as image:
        assert image.getexif()[33432] == CREDIT
    assert "ImageDescription" in warnings
    packet = xmp_packet(extra=f"<dc:description>{'y' * 70_000}</dc:description>")
    written, warnings = restored(with_xmp("png", packet), "jpeg")
    assert CREDIT in xmp_of(written)
    assert "dc:description" in warnings
    written, warnings = restored(texts_png(("Comment", "z" * 70_000), ("Copyright", CREDIT)), "jpeg")
    assert CREDIT in xmp_of(written)
    assert "exif:UserComment" in warnings


@each_target
def test_without_metadata_a_photo_is_written_as_before(target):
    photo = read_photo(encoded(Image.fromarray(RGB), target))
    plain = Photo(pixels=photo.pixels, format=target)
    if target in ("png", "tiff"):
        np.testing.assert_array_equal(np.asarray(decoded(encode_photo(plain))), RGB)
    assert not decoded(encode_photo(plain)).getexif().get(271)
    assert conversion_warnings(plain, target) == () and photo.warnings == ()
