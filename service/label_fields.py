"""The field `labels`: an object in JSON; in forms and queries `key=value`, with commas, repeated, or as JSON text."""

import json
from typing import Any

from pydantic.json_schema import WithJsonSchema

from jobs.labels import KEY, MAX_LABELS, MAX_VALUE_CHARACTERS

LABELS_FIELD = "labels"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MAX_LABELS,
    "propertyNames": {"pattern": f"^{KEY.pattern}$"},
    "additionalProperties": {"type": "string", "maxLength": MAX_VALUE_CHARACTERS, "pattern": r"^[ -~]*$"},
    "default": {},
}
"""Of good labels in JSON: values may hold other letters than those of ASCII, too."""
TEXT_SCHEMA: dict[str, Any] = {
    "type": "string", "pattern": r"^[a-z0-9._-]{1,63}=[A-Za-z0-9 ._:/-]{0,64}$",
    "description": "Labels of your own by which GET /jobs finds the job: key=value,key=value, or a JSON object.",
}  # fmt: skip
"""Of good labels in a form or a query: one, without a comma."""
OF_LABELS = WithJsonSchema(SCHEMA)


def label_texts(before: object, text: str) -> list[str]:
    """Return the texts of a field that may be repeated."""
    return [*(before if isinstance(before, list) else []), text]


def read_labels(value: object) -> object:
    """Return labels as an object, whatever form they have; the caller's model checks keys and values.

    Raises:
        ValueError: a text is neither key=value nor a JSON object, or a key is given twice.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    labels: dict[str, object] = {}
    for text in value:
        for key, content in _pairs(text):
            if key in labels:
                raise ValueError(f"the key {key[:80]!r} is given twice")
            labels[key] = content
    return labels


def _pairs(text: object) -> list[tuple[str, object]]:
    if not isinstance(text, str):
        raise ValueError("expected an object of texts")
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("begins like a JSON object, but is none") from error
        return list(found.items())
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if bad := next((part for part in parts if "=" not in part), None):
        needs = 'a value with a comma needs JSON: {"key": "a, b"}'
        raise ValueError(f"got {bad[:80]!r}, expected key=value; {needs}")
    return [(part.partition("=")[0].strip(), part.partition("=")[2].strip()) for part in parts]
