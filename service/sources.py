"""Where the image of a request comes from: the body, base64 in a field, a URL, or an earlier upload."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from service.refusals import InvalidRequest

SOURCE_FIELDS = ("image_base64", "image_url", "upload")
"""The fields that stand for the image; a file in a form, or the whole body, is the fourth source."""
_DATA_URL = re.compile(r"data:[^,]{0,200}?(;base64)?,", re.IGNORECASE)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n\f\v"
MAX_URL_CHARACTERS = 4096
MAX_UPLOAD_CHARACTERS = 64


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of an image: exactly one of `data`, `url` and `upload`.

    Attributes:
        file_name: the name that the client's file has, not cleaned.
    """

    data: bytes | None = None
    url: str | None = None
    upload: str | None = None
    file_name: str | None = None


def split_source(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that stand for the image, and the others."""
    of_source = {name: value for name, value in fields.items() if name in SOURCE_FIELDS}
    return of_source, {name: value for name, value in fields.items() if name not in SOURCE_FIELDS}


def source_of(fields: Mapping[str, Any], file: bytes | None = None, file_name: str | None = None) -> Source | None:
    """Return the source of an image, None where there is none.  Decoding 40 MB of base64 takes a while.

    Args:
        fields: those of `split_source`.
        file: the file or the body of the request.

    Raises:
        InvalidRequest: more than one source, or a source of another type or form.
    """
    names = [*(["image"] if file is not None else []), *fields]
    if len(names) > 1:
        raise _invalid(names[1], f"given beside {names[0]}; send the image once")
    if file is not None:
        return Source(data=file, file_name=file_name)
    for name, value in fields.items():
        if not isinstance(value, str):
            raise _invalid(name, "expected a text")
        return _source(name, value.strip())
    return None


def _source(name: str, text: str) -> Source:
    if name == "image_base64":
        return Source(data=decode_base64(text))
    limit = MAX_URL_CHARACTERS if name == "image_url" else MAX_UPLOAD_CHARACTERS
    if not 0 < len(text) <= limit:
        raise _invalid(name, f"got {len(text)} characters, expected 1 to {limit}")
    return Source(url=text) if name == "image_url" else Source(upload=text)


def decode_base64(text: str) -> bytes:
    """Return the bytes that a text stands for: base64, also with white space, without padding, in the alphabet for
    URLs (`-_`), or in a data: URL, whose media type does not count.

    Raises:
        InvalidRequest: it is none of these.
    """
    if text[:5].lower() == "data:":
        match = _DATA_URL.match(text)
        if match is None or match[1] is None:
            raise _invalid("image_base64", "a data: URL without base64; write data:image/png;base64,...")
        text = text[match.end() :]
    try:
        data = unquote_to_bytes(text) if "%" in text else text.encode("ascii")
        data = data.translate(_URL_SAFE, _BLANKS).rstrip(b"=")
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(
            "image_base64", "not base64; encode the bytes of the file, such as with: base64 photo.jpg"
        ) from error


def _invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {problem}", errors=[{"field": field, "problem": problem}])
