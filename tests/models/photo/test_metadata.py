"""Damaged and hostile metadata: they are dropped with a warning, and never stop the photo."""

import struct
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metadata_samples import CREDIT, iim, jpeg_with, photoshop, png_with, with_xmp, xmp_packet
from photo_samples import RGB, encoded
from PIL import Image

from models.photo import icc, iptc, jpeg_segments, png_chunks, xmp
from models.photo.metadata import GAIN_MAP_LOSS
from models.photo.read import read_photo
from models.photo.write import encode_photo

BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


def test_a_document_with_entities_is_refused():
    for packet in (BOMB + xmp_packet(), BOMB + b"<x>&b;</x>", (BOMB + b"<x>&b;</x>").decode().encode("utf-16")):
        with pytest.raises(xmp.XmpError):
            xmp.read_xmp(packet)
    assert "damaged XMP was not kept" in read_photo(with_xmp("jpeg", BOMB + b"<x>&b;</x>")).warnings[0]


def test_a_deep_document_is_read_without_a_crash():
    deep = "<dc:title>" + "<rdf:li>" * 100_000 + "</rdf:li>" * 100_000 + "</dc:title>"
    kept, _ = xmp.read_xmp(xmp_packet(extra=deep))
    assert len(kept["dc:title"]) < 1000


@given(st.binary(max_size=200), st.integers(0, 40))
def test_any_bytes_are_parsed_without_an_error(data, cut):
    list(jpeg_segments.segments(b"\xff\xd8" + data))
    list(jpeg_segments.segments(jpeg_with([(0xE1, data)])[: 60 + cut]))
    iptc.read_iim(data)
    iptc.read_iim(b"\x1c" + data)
    iptc.iim_of_photoshop(b"8BIM" + data)
    for kind in (b"tEXt", b"zTXt", b"iTXt"):
        png_chunks.text_of(kind, data)
    list(png_chunks.chunks(b"\x89PNG\r\n\x1a\n" + data))
    icc.for_written(data, gray=False)
    icc.gamma_of(bytes(128) + struct.pack(">I", 3) + data)
    with suppress(xmp.XmpError):
        xmp.read_xmp(data)


@given(st.lists(st.tuples(st.sampled_from(sorted(iptc.XMP_NAMES)), st.text(st.characters(exclude_categories=["C"])))))
def test_iim_is_written_as_it_is_read(datasets):
    kept = tuple(dataset for dataset in datasets if iptc.read_iim(iim(dataset))[0])
    assert iptc.read_iim(iptc.write_iim(kept))[0] == iptc.read_iim(iim(*kept))[0]
    assert iptc.iim_of_photoshop(iptc.photoshop_block(iim(*kept))) == iim(*kept)
    assert iptc.photoshop_block(iim(*kept)) == photoshop(iim(*kept))


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["C"]), min_size=1).map(str.strip).filter(bool))
def test_any_text_survives_xmp(text):
    properties = {
        "dc:rights": xmp.property_of("dc:rights", [text]),
        "dc:creator": xmp.property_of("dc:creator", [text]),
    }
    read, lost = xmp.read_xmp(xmp.packet_of(properties))
    assert lost == ()
    assert set(read) <= set(properties)
    assert all(xmp.has_values(element, [text]) for element in read.values())


@pytest.mark.parametrize("text", ["48.8584N 2.2945E", "GPSLatitude: 4", "lat=48.1", "48° 51' N", "geo:48.1,2.2"])
def test_texts_with_coordinates_are_recognized(text):
    photo = read_photo(encoded(Image.fromarray(RGB), "jpeg", comment=text.encode()))
    assert photo.metadata.comments == ()
    assert "location" in photo.warnings[0]


@pytest.mark.parametrize("text", ["1/250 s at f/2.8", "Canon EF 24-105 mm", "v1.2.3, 2026-11-21", "latest long play"])
def test_texts_without_coordinates_pass(text):
    assert read_photo(encoded(Image.fromarray(RGB), "jpeg", comment=text.encode())).metadata.comments == (text,)


GAIN_MAPS = {
    "XMP of Ultra HDR": (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"/>'),
    "ISO 21496-1": (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"),
    "Apple": (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/"/>'),
}  # fmt: skip


@pytest.mark.parametrize("name", GAIN_MAPS)
def test_a_gain_map_is_named(name):
    warnings = read_photo(jpeg_with([GAIN_MAPS[name]])).warnings
    assert f"the data: {GAIN_MAP_LOSS}" in warnings


def test_a_damaged_text_does_not_stop_a_png():
    photo = read_photo(
        png_with((b"tEXt", b"Copyright\0" + CREDIT.encode("latin-1")), (b"iTXt", b"Title\0\0\0\0\0\xff"))
    )
    np.testing.assert_array_equal(photo.pixels, RGB)
    assert photo.metadata.texts == (("Copyright", CREDIT),)
    assert "damaged PNG text" in photo.warnings[0]


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_a_result_without_metadata_has_no_credits_but_its_resolution(format):
    photo = read_photo(with_xmp(format, xmp_packet()))
    photo = replace(photo, exif=None, metadata=replace(photo.metadata, dpi=(300.0, 300.0)).without_words())
    data = encode_photo(photo)
    assert CREDIT.encode() not in data and b"Jane" not in data
    assert read_photo(data).metadata.dpi == (300.0, 300.0)
