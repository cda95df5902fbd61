"""File names in Content-Disposition: what a client's file is called never breaks out of the header or of a folder.

The readers are Python's email package (RFC 2231, as browsers read `filename*`) and a strict pattern of RFC 6266.
"""

import re
from email.message import Message
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.content_disposition import clean_stem, content_disposition

_QUOTED = r'"[\x20\x21\x23\x24\x26-\x5b\x5d-\x7e]+"'
_EXTENDED = r"UTF-8''[!#$&+\-.^_`|~A-Za-z0-9%]+"
HEADER = re.compile(rf"inline; filename={_QUOTED}(; filename\*={_EXTENDED})?")


def read_names(header):
    """The names that a reader finds: the plain one, and the extended one where there is one."""
    message = Message()
    plain = re.search(r'; filename="([^"]*)"', header)
    message["Content-Disposition"] = header.replace(plain[0], "") if "filename*" in header else header
    return message.get_filename(), plain[1]


@pytest.mark.parametrize(("given_name", "stem"), [
    ("photo.jpg", "photo"), ("Urlaub am See.JPEG", "Urlaub am See"), ("C:\\Users\\me\\photo.png", "photo"),
    ("../../etc/passwd", "passwd"), ("/tmp/a.b.tiff", "a.b"), (".htaccess", "htaccess"), ("con.png", "con_"),
    ('a"; filename="b.exe', "a__ filename=_b"), ("r\r\nSet-Cookie: a=b.jpg", "rSet-Cookie_ a=b"), ("日本.png", "日本"),
    ("e\u0301te\u0301.jpg", "été"), ("in\u202egpj.exe", "ingpj"), ("100%.jpg", "100_"), ("a" * 300 + ".jpg", "a" * 100),
    ("blob", None), ("upload", None), ("", None), (None, None), ("...", None), ("\x00", None), ("😀.png", None),
])  # fmt: skip
def test_a_clients_file_name_is_cleaned(given_name, stem):
    assert clean_stem(given_name) == stem


@given(st.text(max_size=200))
@example('"\\\r\n;%/')
@example("a\u2028b")
@example("\ud800x")
def test_every_name_is_safe(name):
    stem = clean_stem(name)
    if stem is None:
        return
    file_name = f"{stem}-restored.png"
    assert PurePosixPath(file_name).name == PureWindowsPath(file_name).name == file_name
    assert not file_name.startswith((".", "-", " ")) and not re.search(r'[\x00-\x1f\x7f-\x9f"\\/]', file_name)
    header = content_disposition(file_name)
    assert HEADER.fullmatch(header)
    extended, plain = read_names(header)
    assert extended == file_name and plain.isascii() and plain.endswith(".png")


def test_a_plain_name_has_one_form_and_another_one_two():
    assert content_disposition("photo-restored.png") == 'inline; filename="photo-restored.png"'
    assert content_disposition("été.png") == "inline; filename=\"ete.png\"; filename*=UTF-8''%C3%A9t%C3%A9.png"
    assert content_disposition("日本.png") == "inline; filename=\"image.png\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.png"
