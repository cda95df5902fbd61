"""Labels of the caller: short texts by key that a job carries, and by which it is found.  They change no result."""

import re
from collections.abc import Mapping

MAX_LABELS = 16
MAX_VALUE_CHARACTERS = 256
KEY = re.compile(r"[a-z0-9._-]{1,63}")
KEY_FORM = "1 to 63 characters of a-z, 0-9, '.', '_' and '-'"


def check_labels(labels: Mapping[str, str]) -> None:
    """Check labels.

    Raises:
        ValueError: too many, a key of another form, or a value that is too long or holds characters that do not print.
    """
    if len(labels) > MAX_LABELS:
        raise ValueError(f"got {len(labels)} labels, expected at most {MAX_LABELS}")
    for key, value in labels.items():
        check_label(key, value)


def check_label(key: str, value: str) -> None:
    """Check one label.

    Raises:
        ValueError: as `check_labels`.
    """
    if not KEY.fullmatch(key):
        raise ValueError(f"got the key {key[:80]!r}, expected {KEY_FORM}")
    if len(value) > MAX_VALUE_CHARACTERS:
        raise ValueError(f"the value of {key} has {len(value)} characters, expected at most {MAX_VALUE_CHARACTERS}")
    if not value.isprintable():
        raise ValueError(f"the value of {key} contains a control character; write plain text")
