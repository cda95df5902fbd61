"""Reads controls from text: of forms, query strings and the command line.  Torch-free."""

import json

from models.controls import Crop, Strength, check_crop, named_strength
from models.errors import ControlsError

SHARES_FORM = "a number from 0 to 1, or shares such as noise=0.3,haze=1"


def parse_strength(text: str) -> Strength:
    """Returns a strength: of `0.5`, of `noise=0.3,haze=1`, or of a JSON object with names and numbers.

    Raises:
        ControlsError: the text has another form, or names an unknown degradation.
    """
    if has_shares(text):
        return named_strength(parse_shares(text))
    try:
        return float(text)
    except ValueError:
        raise ControlsError(f"got strength {text!r}, expected {SHARES_FORM}") from None


def has_shares(text: str) -> bool:
    """Returns whether a text gives each repair a share of its own."""
    return "=" in text or text.strip().startswith("{")


def parse_shares(text: str) -> dict[str, float]:
    """Returns the shares of `noise=0.3,haze=1` or of a JSON object, by the words in the text.

    Raises:
        ControlsError: the text has another form, or a word occurs twice.
    """
    pairs = _json_pairs(text) if text.strip().startswith("{") else _plain_pairs(text)
    shares: dict[str, float] = {}
    for word, share in pairs:
        if word in shares:
            raise ControlsError(f"strength: {word} is given twice; leave one of them out")
        shares[word] = share
    return shares


def _plain_pairs(text: str) -> list[tuple[str, float]]:
    pairs = []
    for part in text.split(","):
        word, equals, number = part.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = None
        if not equals or not word.strip() or share is None:
            raise ControlsError(f"got strength {text!r}, expected {SHARES_FORM}")
        pairs.append((word.strip(), share))
    return pairs


def _json_pairs(text: str) -> list[tuple[str, float]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        pairs = None
    valid = isinstance(pairs, list) and all(
        isinstance(pair, tuple) and isinstance(pair[1], int | float) and not isinstance(pair[1], bool) for pair in pairs
    )
    if not valid:
        raise ControlsError(f"got strength {text!r}, expected {SHARES_FORM}, or the same as a JSON object")
    return [(word, float(share)) for word, share in pairs]


def parse_crop(text: str) -> Crop:
    """Returns the rectangle of `x,y,width,height`.

    Raises:
        ControlsError: the text is not four whole numbers, or the rectangle is empty.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ControlsError(f"got crop {text!r}, expected x,y,width,height in whole pixels, such as 100,50,400,300")
    x, y, width, height = map(int, parts)
    check_crop((x, y, width, height))
    return x, y, width, height
