"""The options of a request, with their types for editors and checkers, and how they travel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class DetectOptions(TypedDict, total=False):
    """The options of `detect`."""

    bundle: str
    lane: str
    deadline_s: float


class RestoreOptions(DetectOptions, total=False):
    """The options of `restore`, `submit` and `map`; docs/api.md explains them.

    A server that does not know one refuses it with InvalidRequest.
    """

    prompt: str
    best_effort: bool
    only: str | Sequence[str]
    skip: str | Sequence[str]
    strength: float | Mapping[str, float]
    fidelity: float
    color_fix: bool
    max_passes: int
    steps: int
    seed: int
    preset: str
    scale: int
    crop: str | Sequence[int]
    variants: int
    format: str
    quality: int
    metadata: bool
    webhook_url: str
    webhook_events: str | Sequence[str]
    result_url: str


LISTS = frozenset({"only", "skip", "webhook_events"})


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None, as values of JSON."""
    return {name: _json_value(name, value) for name, value in options.items() if value is not None}


def _json_value(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    if name in LISTS:
        return [word.strip() for word in value.split(",")] if isinstance(value, str) else [str(word) for word in value]
    if name == "crop" and not isinstance(value, str):
        return ",".join(str(int(number)) for number in value)
    return dict(value) if isinstance(value, Mapping) else value


def form_fields(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return options as the fields of a form; a list becomes several fields of one name."""
    fields: list[tuple[str, str]] = []
    for name, value in options.items():
        fields += [(name, _text(entry)) for entry in (value if isinstance(value, list) else [value])]
    return fields


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict) else str(value)


def multipart(options: Mapping[str, Any], image: bytes, boundary: str) -> bytes:
    """Return the body of a form with an image.  The boundary must not occur in it: a random one does not."""
    mark, parts = f"--{boundary}\r\n".encode(), []
    for name, value in form_fields(options):
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
        parts += [mark, head.encode(), value.encode("utf-8", "surrogatepass"), b"\r\n"]
    head = 'Content-Disposition: form-data; name="image"; filename="image"\r\n\r\n'
    return b"".join([*parts, mark, head.encode(), image, f"\r\n--{boundary}--\r\n".encode()])


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
