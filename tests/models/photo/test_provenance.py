"""The mark of a result: read back by Pillow and an XML parser, and by exiftool where that is installed."""

import io
import json
import shutil
import subprocess
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import pytest
from photo_samples import encoded
from PIL import Image

from models.photo.marking import Marking, Provenance, encode_marked
from models.photo.provenance import Mark, mark_of, source_type_of
from models.photo.read import FORMATS, Photo, read_photo
from models.photo.write import encode_photo

URI = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
CREDITS = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="Darkroom 9"
 photoshop:Credit="The Agency"><dc:creator><rdf:Seq><rdf:li>Ada Byron</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) Ada</rdf:li></rdf:Alt></dc:rights>
<Iptc4xmpExt:DigitalSourceType>%sTYPE</Iptc4xmpExt:DigitalSourceType>
<xmpMM:History><rdf:Seq><rdf:li stEvt:action="saved" stEvt:softwareAgent="Darkroom 9"
 stEvt:parameters="/home/ada/secret.psd"/></rdf:Seq></xmpMM:History>
</rdf:Description></rdf:RDF></x:xmpmeta>""" % URI.encode()


@dataclass(frozen=True)
class Pass:
    label: str
    by: str
    kept: bool = True


def marking(drawn=False):
    mark = Mark(bundle="autodir-small", bundle_version="6", repairs=("noise", "blur"), drawn=drawn)
    return Marking(mark=mark)


def source(source_type="digitalCapture"):
    data = encoded(Image.fromarray(PIXELS), "jpeg", xmp=CREDITS.replace(b"TYPE", source_type.encode()))
    return read_photo(data)


def xmp_of(data):
    with Image.open(io.BytesIO(data)) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or image.tag_v2[700]
        return ElementTree.fromstring(packet), packet if isinstance(packet, str) else packet.decode()


def texts(root, name):
    uris = {"dc": "http://purl.org/dc/elements/1.1/", "xmp": "http://ns.adobe.com/xap/1.0/",
            "photoshop": "http://ns.adobe.com/photoshop/1.0/", "tiff": "http://ns.adobe.com/tiff/1.0/",
            "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
            "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"}  # fmt: skip
    prefix, _, local = name.partition(":")
    return ["".join(element.itertext()).strip() for element in root.iter(f"{{{uris[prefix]}}}{local}")]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("drawn", "kind"), [(False, "algorithmicallyEnhanced"), (True, "compositeWithTrainedAlgorithmicMedia")]
)
def test_every_format_carries_the_mark_and_the_credits(format, drawn, kind):
    root, packet = xmp_of(encode_marked(source(), format, None, marking(drawn)))
    assert texts(root, "Iptc4xmpExt:DigitalSourceType") == [URI + kind]
    assert texts(root, "dc:creator") == ["Ada Byron"] and texts(root, "dc:rights") == ["(c) Ada"]
    assert texts(root, "photoshop:Credit") == ["The Agency"] and texts(root, "xmp:CreatorTool") == ["Darkroom 9"]
    assert texts(root, "tiff:Software") == ["undegrade 0.1.0 (autodir-small 6)"]
    assert texts(root, "Iptc4xmpExt:AISystemUsed") == (["undegrade, bundle autodir-small"] if drawn else [])
    (agent,), (done,) = texts(root, "stEvt:softwareAgent"), texts(root, "stEvt:parameters")
    assert agent == "undegrade 0.1.0" and "autodir-small 6; repaired noise, blur" in done
    assert done.endswith(f"digital source type before: {URI}digitalCapture")
    assert "secret" not in packet


@pytest.mark.parametrize("format", FORMATS)
def test_a_photo_without_metadata_gets_a_mark_too(format):
    root, _ = xmp_of(encode_marked(Photo(pixels=PIXELS, format="png"), format, None, marking()))
    assert texts(root, "Iptc4xmpExt:DigitalSourceType") == [URI + "algorithmicallyEnhanced"]
    assert texts(root, "xmp:CreatorTool") == ["undegrade 0.1.0"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_second_restoration_and_a_conversion_keep_the_first_mark(format):
    once = encode_marked(source(), format, None, marking(drawn=True))
    twice = encode_marked(read_photo(once), format, None, marking())
    converted = encode_photo(read_photo(twice), "png")
    root, _ = xmp_of(converted)
    assert texts(root, "Iptc4xmpExt:DigitalSourceType") == [URI + "compositeWithTrainedAlgorithmicMedia"]
    assert texts(root, "stEvt:softwareAgent") == ["undegrade 0.1.0"] * 2


@pytest.mark.parametrize("stays", ["trainedAlgorithmicMedia", "compositeSynthetic"])
def test_a_picture_that_a_model_made_does_not_become_an_enhanced_photo(stays):
    photo = read_photo(encode_marked(source(stays), "png", None, marking()))
    assert source_type_of(photo.metadata.xmp) == stays


def test_without_a_mark_nothing_is_written():
    assert encode_marked(source(), "png", None, None) == encode_photo(source(), "png")


@pytest.mark.parametrize(("passes", "share", "drawn"), [
    ([], 0.5, None), ([Pass("noise", "network", kept=False)], 0.5, None), ([Pass("noise", "network")], 0.0, None),
    ([Pass("noise", "specialist detail")], 0.5, False),
    ([Pass("noise", "network"), Pass("blur", "diffusion")], 0.5, True),
    ([Pass("noise", "network"), Pass("blur", "diffusion", kept=False)], 0.5, False),
])  # fmt: skip
def test_only_what_a_network_changed_is_marked_and_only_diffusion_draws(passes, share, drawn):
    mark = mark_of(passes, share, "b", "1")
    assert (None if mark is None else mark.drawn) is drawn


def test_the_policy_off_marks_nothing():
    assert Provenance(policy="off").marking(marking().mark) is None
    assert Provenance().marking(marking().mark) == marking()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool: make provenance-tools")
@pytest.mark.parametrize("format", FORMATS)
def test_exiftool_reads_the_mark(tmp_path, format):
    path = tmp_path / f"a{FORMATS[format][0]}"
    path.write_bytes(encode_marked(source(), format, None, marking(drawn=True)))
    answer = subprocess.run(["exiftool", "-json", "-G1", "-struct", path], capture_output=True, check=True).stdout
    (tags,) = json.loads(answer)
    assert tags["XMP-iptcExt:DigitalSourceType"] == URI + "compositeWithTrainedAlgorithmicMedia"
    assert tags["XMP-tiff:Software"] == "undegrade 0.1.0 (autodir-small 6)" and tags["XMP-dc:Creator"] == ["Ada Byron"]
    assert tags["XMP-xmpMM:History"][0]["SoftwareAgent"] == "undegrade 0.1.0"
