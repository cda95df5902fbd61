"""The words for a name that does not exist, with the nearest one that does."""

import difflib
from collections.abc import Iterable

MAX_QUOTED_CHARACTERS = 100
MAX_LISTED = 8


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns a sentence without its end: what does not exist, and which name was probably meant."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        remedy = f"did you mean {near[0]}?"
    elif names:
        remedy = f"known are {', '.join(names[:MAX_LISTED])}{' and others' if len(names) > MAX_LISTED else ''}"
    else:
        remedy = "there is none at all now"
    return f"there is no {kind} {name[:MAX_QUOTED_CHARACTERS]}; {remedy}"
