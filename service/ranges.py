"""Reads `Range` and `If-Range` (RFC 9110, 14.1.2 and 13.1.5) for a representation whose size is known."""

import re
from dataclasses import dataclass
from http import HTTPStatus

from service.refusals import Refusal

_UNIT = re.compile(r"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(r"([0-9]*)\s*-\s*([0-9]*)")
MAX_DIGITS = 18
"""Of a position.  No picture is larger, and Python is slow with numbers of many digits."""


class RangeNotSatisfiable(Refusal):
    """The range begins after the end of the image."""

    status, code = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "range-not-satisfiable"
    hint = "Content-Range contains the image's size; leave Range out to have the whole image"


@dataclass(frozen=True)
class ByteRange:
    """The bytes from `first` to `last`, both included, of a representation of `size` bytes."""

    first: int
    last: int
    size: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    @property
    def content_range(self) -> str:
        return f"bytes {self.first}-{self.last}/{self.size}"


def requested_range(header: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """Return the range that a GET asks for; None for the whole representation.

    As the RFC allows, a header that is not valid, another unit than bytes, and several ranges mean the whole.  So does
    an `If-Range` that is not this very entity tag; there are no dates of modification.

    Raises:
        RangeNotSatisfiable: the range begins after the end.
    """
    if header is None or (if_range is not None and if_range.strip() != etag):
        return None
    unit = _UNIT.fullmatch(header)
    specs = [spec.strip() for spec in unit[1].split(",") if spec.strip()] if unit else []
    match = _SPEC.fullmatch(specs[0]) if len(specs) == 1 else None
    if match is None or not (match[1] or match[2]):
        return None
    first, last = (_position(text) for text in match.groups())
    if first is None:  # the last bytes of the representation
        assert last is not None, "the header was checked"
        first, last = max(0, size - last), size - 1
    elif last is not None and last < first:
        return None  # not valid, which is not the same as not satisfiable
    else:
        last = size - 1 if last is None else min(last, size - 1)
    if first >= size:
        raise RangeNotSatisfiable(
            f"got Range: {header.strip()[:100]}, and the image has {size:,} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return ByteRange(first, last, size)


def _position(text: str) -> int | None:
    if not text:
        return None
    return int(text) if len(text) <= MAX_DIGITS else 10**MAX_DIGITS
