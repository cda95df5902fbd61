"""Conditional requests: entity tags and `If-None-Match` (RFC 9110, 8.8.3 and 13.1.2)."""

import hashlib
import re
from collections.abc import Sequence

TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag_of(*parts: object) -> str:
    """Return a strong entity tag for a representation that these parts determine."""
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()}"'


def has_current(if_none_match: Sequence[str], etag: str) -> bool:
    """Return whether the client already has the representation; tags are compared weakly, `*` matches any."""
    given = ",".join(if_none_match).strip()
    return given == "*" or etag in TAG.findall(given)
