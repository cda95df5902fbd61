"""Keep a snapshot of the HTTP API, and tell compatible changes from others (`make api-snapshot`).

The snapshot is a flat list of places: routes, parameters, fields of bodies and schemas, answers, problem codes. Of a
request, a later version must accept everything that the earlier one accepted; of an answer, it must send nothing that
the earlier one never sent, except new fields and new words of open lists. Rules between several fields of a body are
not compared.

Example: python docs/make_api_snapshot.py
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.app import create_app
from service.problem_pages import refusals_by_code
from service.problems import PROBLEM_TYPE
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
SNAPSHOT = ROOT / "tests" / "docs" / "openapi_snapshot.json"
PAGE = ROOT / "docs" / "api-changes.md"
CLOSED = ("State",)
"""Schemas of answers whose lists get no further words: programs decide by them whether a job has ended."""
WORDLESS = ("title", "description", "example", "examples", "properties", "required")
LOWER, UPPER = ("minimum", "exclusiveMinimum", "minLength", "minItems"), (
    "maximum", "exclusiveMaximum", "maxLength", "maxItems",
)  # fmt: skip
Places = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Change:
    """A difference at a place, such as `GET /jobs ?limit` or `JobBody.status`."""

    place: str
    what: str
    compatible: bool

    def __str__(self) -> str:
        return f"`{self.place}` {self.what}{'' if self.compatible else ' (incompatible)'}"


def current() -> dict[str, Any]:
    """Returns the OpenAPI document of this version."""
    return create_app(ServiceSettings(redis_url="redis://127.0.0.1:1", store_url="memory://")).openapi()


def places(document: dict[str, Any]) -> Places:
    """Returns every place of the API with its direction (`in`), whether it is required, and its schema."""
    found: Places = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.update(_of_operation(f"{method.upper()} {path}", operation))
    asked = json.dumps([place["schema"] for place in found.values() if place["in"] == "request"])
    for name, schema in document["components"]["schemas"].items():
        direction = "request" if f'schemas/{name}"' in asked else "answer"
        found.update(_of_schema(name, schema, direction, direction == "answer", "."))
    for code, kind in refusals_by_code().items():
        found[f"problem {code}"] = _place("answer", {"const": kind.status.value}, True, {})
    return dict(sorted(found.items()))


def _of_operation(name: str, operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield name, _place("route", {}, False, operation)
    signs = {"query": "?", "path": "/", "header": "header "}
    for one in operation.get("parameters", []):
        place = f"{name} {signs[one['in']]}{one['name']}"
        yield place, _place("request", one["schema"], one.get("required", False), one)
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from _of_schema(f"{name} {media_type}", content["schema"], "request", False, ": ")
    for status, answer in operation["responses"].items():
        contents = {name: one for name, one in answer.get("content", {}).items() if name != PROBLEM_TYPE}
        if status < "400" or contents:
            yield f"{name} {status}", _place("answer", {}, True, {})
        for media_type, content in contents.items():
            yield from _of_schema(f"{name} {status} {media_type}", content["schema"], "answer", True, ": ")


def _of_schema(
    name: str, schema: dict[str, Any], direction: str, required: bool, sign: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place of a schema, and those of its fields."""
    if schema.get("type") == "object" and "properties" in schema:
        yield name, _place(direction, {"type": "object"}, required, schema)
        for key, field in schema["properties"].items():
            needed = direction == "answer" or key in schema.get("required", [])
            yield from _of_schema(f"{name}{sign}{key}", field, direction, needed, ".")
    elif "properties" in schema.get("items", {}):
        yield name, _place(direction, {"type": "array"}, required, schema)
        yield from _of_schema(f"{name}[]", schema["items"], direction, False, ".")
    else:
        yield name, _place(direction, schema, required, schema)


def _place(direction: str, schema: dict[str, Any], required: bool, of: dict[str, Any]) -> dict[str, Any]:
    deprecated = {"deprecated": True} if of.get("deprecated") else {}
    return {"in": direction, "required": required, "schema": _trimmed(schema), **deprecated}


def _trimmed(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Returns a schema without words for people."""
    if isinstance(schema, list):
        return [_trimmed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _trimmed(value) for key, value in sorted(schema.items()) if key not in WORDLESS}


def changes(before: Places, after: Places) -> list[Change]:
    """Returns what has changed; of something that is gone or new as a whole, only the whole."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            if not _is_below(name, before.keys() - after.keys()):
                found.append(Change(name, "is gone", before[name].get("deprecated", False)))
        elif name not in before:
            if not _is_below(name, after.keys() - before.keys()):
                found.append(Change(name, "is new", not (_is_asked(after[name]) or _is_status(name))))
        else:
            found += _changes_of(name, before[name], after[name])
    return found


def _is_asked(place: dict[str, Any]) -> bool:
    return bool(place["in"] == "request" and place["required"])


def _is_status(name: str) -> bool:
    """Whether a place is an answer with another status than before: a program may not know what to do with it."""
    return re.fullmatch(r"[A-Z]+ \S+ \d{3}", name) is not None


def _is_below(name: str, others: set[str]) -> bool:
    return any(name.startswith((f"{other} ", f"{other}.", f"{other}: ", f"{other}[")) for other in others)


def _changes_of(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    if after.get("deprecated") and not before.get("deprecated"):
        yield Change(name, "is deprecated", True)
    if before["required"] != after["required"]:
        yield Change(name, f"is {'now' if after['required'] else 'no longer'} required", not after["required"])
    old, new = ({key: value for key, value in place["schema"].items() if key != "default"} for place in (before, after))
    defaults = before["schema"].get("default"), after["schema"].get("default")
    if defaults[0] != defaults[1]:
        yield Change(name, f"has the default {defaults[1]} instead of {defaults[0]}", before["in"] != "request")
    if old == new:
        return
    if before["in"] == "request":
        closed = name in CLOSED and not accepts(old, new)  # a list that answers have, too
        yield Change(name, "takes other values", accepts(new, old) and not closed)
    else:
        yield Change(name, "has other values", accepts(old, new, open_lists=name not in CLOSED))


def accepts(wide: dict[str, Any], narrow: dict[str, Any], open_lists: bool = False) -> bool:
    """Returns whether each value of a schema is one of another; False if that cannot be told.

    `open_lists`: further words of an enumeration count as known.
    """
    return all(any(_accepts_one(one, other, open_lists) for one in _options(wide)) for other in _options(narrow))


def _options(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return schema.get("anyOf") or schema.get("oneOf") or [schema]


def _accepts_one(wide: dict[str, Any], narrow: dict[str, Any], open_lists: bool) -> bool:
    kinds = wide.get("type"), narrow.get("type")
    if kinds[0] is not None and kinds[0] != kinds[1] and kinds != ("number", "integer"):
        return False
    if "enum" in wide and not open_lists and not set(narrow.get("enum", [object()])) <= set(wide["enum"]):
        return False
    if any(key in wide and narrow.get(key, float("-inf")) < wide[key] for key in LOWER):
        return False
    if any(key in wide and narrow.get(key, float("inf")) > wide[key] for key in UPPER):
        return False
    if "items" in wide and not accepts(wide["items"], narrow.get("items", {}), open_lists):
        return False
    compared = {"type", "enum", "items", *LOWER, *UPPER}
    return all(narrow.get(key) == value for key, value in wide.items() if key not in compared)


def described(change: Change, page: str) -> bool:
    """Whether the page names the place of a change among the incompatible changes of the next version."""
    section = page.partition("\n### Incompatible\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    return f"`{change.place}`" in section


def main() -> int:
    """Renew the snapshot; refuse where an incompatible change is not described."""
    now = places(current())
    before: Places = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    found = changes(before, now) if before else []
    missing = [change for change in found if not change.compatible and not described(change, PAGE.read_text())]
    sys.stdout.write("".join(f"- {change}\n" for change in found) or "nothing has changed\n")
    if missing:
        sys.stderr.write(
            f"\nThe snapshot is not renewed: {len(missing)} of these break programs that use the API. Avoid them, or"
            f" describe each below '### Incompatible' of {PAGE.relative_to(ROOT)}, with its place as written above.\n"
        )
        return 1
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(place)}" for name, place in now.items())
    SNAPSHOT.write_text(f"{{\n{lines}\n}}\n")
    if found:
        sys.stderr.write(f"\nDescribe in {PAGE.relative_to(ROOT)} what programs want to know.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
