"""Base64 in its variants, as Python's base64 module, MIME, URLs and browsers write it."""

import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.refusals import InvalidRequest
from service.sources import decode_base64

VARIANTS = {
    "standard": lambda data: base64.b64encode(data).decode(),
    "for URLs": lambda data: base64.urlsafe_b64encode(data).decode(),
    "without padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "for URLs without padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "MIME lines": lambda data: base64.encodebytes(data).decode(),
    "lines of Windows": lambda data: "\r\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64)) + "\r\n",
    "data URL": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    "data URL with parameters": lambda data: "data:image/png;name=a.png;base64," + base64.b64encode(data).decode(),
    "data URL without type": lambda data: "DATA:;BASE64," + base64.b64encode(data).decode(),
    "data URL in percent-encoding": lambda data: (
        "data:;base64," + base64.b64encode(data).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    ),
    "data URL in lines": lambda data: "data:image/jpeg;base64,\n" + base64.encodebytes(data).decode(),
}


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.binary(max_size=200))
def test_every_variant_gives_the_bytes_back(variant, data):
    assert decode_base64(VARIANTS[variant](data)) == data


@pytest.mark.parametrize("text", [
    "%%%", "a", "AAAAA", "AA*A", "AA=A", "data:image/png,AAAA", "data:image/png;base64", "data:;base64,*", "ä",
    "photo.jpg",
    "AAAA\x00", "data:" + "x" * 300 + ";base64,AAAA",
])  # fmt: skip
def test_another_text_is_refused_with_its_field(text):
    with pytest.raises(InvalidRequest) as refused:
        decode_base64(text)
    assert refused.value.extra["errors"][0]["field"] == "image_base64"
