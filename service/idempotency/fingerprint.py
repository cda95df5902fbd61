"""The fingerprint of a request: equal for the same request in other words, different for another one.

It contains the route, the fields and the image.  It leaves out how a request is written (the order of its fields,
multipart or JSON, the boundary, the kind of base64) and what does not change what is made (`Prefer`, other headers).
"""

import hashlib
import json
from collections.abc import Mapping

Field = str | int | float | bool | list["Field"] | tuple["Field", ...] | dict[str, "Field"] | None


def fingerprint(route: str, fields: Mapping[str, Field], content: str = "") -> str:
    """Return the fingerprint of a request, a SHA-256 in hex.

    Args:
        route: method and path.
        fields: as the client sent them.  Texts of a form are equal to the JSON values that they stand for, and null or
            an empty text is equal to no field, as everywhere in the API.
        content: the SHA-256 of the image where the request has one.
    """
    canonical = {name: _canonical(value) for name, value in fields.items() if value is not None and value != ""}
    text = json.dumps([route, canonical, content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Field) -> object:
    if isinstance(value, list | tuple):
        return [_canonical(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _canonical(entry) for name, entry in value.items()}
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():  # 5.0 is the whole number 5, as in JSON Schema
        return str(int(value))
    return str(value) if value is not None else None
