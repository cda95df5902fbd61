"""Recognizes texts that tell where a photo was taken; such texts are never written to a restored file."""

import re

COORDINATE = re.compile(
    r"gps\s*(latitude|longitude|position|coordinates)"
    r"|\bgeo\s*:\s*-?\d"
    r"|\b(lat|latitude|lon|lng|long|longitude)\b\W{0,3}-?\d"
    r"|(?<![\d.])\d{1,3}\.\d{4,}"  # four decimals of a degree are eleven meters
    r"|\d{1,3}\s*°\s*\d",
    re.IGNORECASE,
)
PLACE_NAME = re.compile(
    r"gps|location|latitude|longitude|city|country|ctry|province|state|region|postal|pcode|address|adr|place|coverage"
    r"|geo",
    re.IGNORECASE,
)


def tells_location(text: str) -> bool:
    """Returns whether a text contains coordinates, or metadata with coordinates.  A place in plain words passes."""
    return COORDINATE.search(text) is not None


def names_location(name: str) -> bool:
    """Returns whether the name of a property says that its value is a place."""
    return PLACE_NAME.search(name) is not None
