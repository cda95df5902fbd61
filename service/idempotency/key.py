"""Reads the header `Idempotency-Key`: a string in quotes, as its draft standard says, or bare, as most clients send it.

The draft is draft-ietf-httpapi-idempotency-key-header-07, the quoted string that of RFC 9651, 3.3.3.
"""

import re
from collections.abc import Sequence

from service.idempotency.refusals import BadIdempotencyKey

HEADER = "Idempotency-Key"
MAX_CHARACTERS = 255
_SIGN = r'[!#-\[\]-~]|\\["\\]'
PATTERN = rf'^([!#-~][ -~]{{0,254}}|" {{0,254}}({_SIGN})({_SIGN}| ){{0,254}}" *)$'
"""For OpenAPI: what `read_key` takes, but for the length of a string in quotes that has backslashes or many spaces."""
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x20-\x7e]*")


def read_key(values: Sequence[str]) -> str | None:
    """Return the key of a request's headers, None without one.  `"a"` and `a` are the same key.

    Raises:
        BadIdempotencyKey: two keys, an empty or too long one, or other characters than printable ASCII.
    """
    if not values:
        return None
    if len(values) > 1:
        raise BadIdempotencyKey(f"got {len(values)} {HEADER} headers, expected one")
    key = _unquoted(values[0].strip(" \t"))
    if not key.strip():
        raise BadIdempotencyKey(f"{HEADER} is empty")
    if len(key) > MAX_CHARACTERS:
        raise BadIdempotencyKey(f"{HEADER} has {len(key)} characters, expected at most {MAX_CHARACTERS}")
    return key


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        if match := _QUOTED.fullmatch(text):
            return re.sub(r"\\(.)", r"\1", match[1])
        raise BadIdempotencyKey(f"{HEADER} begins with a quotation mark, but is not a string in quotes")
    if not _BARE.fullmatch(text):
        raise BadIdempotencyKey(f"{HEADER} contains characters that are not printable ASCII")
    return text
