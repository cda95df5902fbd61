"""The HTTP API changes only as docs/api-changes.md says: its snapshot, and the rules for compatible changes."""

import copy
import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "docs" / "make_api_snapshot.py"))
PAGE = (ROOT / "docs" / "api-changes.md").read_text()
SNAPSHOT = json.loads((ROOT / "tests" / "docs" / "openapi_snapshot.json").read_text())
DOCUMENT = {
    "paths": {
        "/jobs/{id}": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "wait", "in": "query", "schema": {"type": "number", "minimum": 0, "maximum": 60}},
                ],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}}
                },
            },
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "lane": {"type": "string", "enum": ["standard", "bulk"], "default": "bulk"},
                                    "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                                    "sizes": {
                                        "type": "array",
                                        "items": {"type": "object", "properties": {"width": {"type": "integer"}}},
                                    },
                                },
                            }
                        }
                    }
                },
                "responses": {"200": {}, "404": {"content": {"application/problem+json": {"schema": {}}}}},
            },
        }
    },
    "components": {
        "schemas": {
            "Job": {
                "type": "object",
                "properties": {
                    "status": {"$ref": "#/components/schemas/State"},
                    "share": {"type": "number", "description": "0 to 1"},
                    "stop": {"type": "string", "enum": ["clean"]},
                    "error": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
            },
            "State": {"type": "string", "enum": ["queued", "failed"]},
        }
    },
}
GET, POST = (["paths", "/jobs/{id}", method] for method in ("get", "post"))
BODY = [*POST, "requestBody", "content", "application/json", "schema"]
JOB = ["components", "schemas", "Job", "properties"]
GONE = object()
CHANGES = [
    # path in the document, new value, place of the change, compatible
    (GET, GONE, "GET /jobs/{id}", False),
    ([*GET, "parameters", 1], GONE, "GET /jobs/{id} ?wait", False),
    ([*GET, "parameters", 1, "schema", "maximum"], 90, "GET /jobs/{id} ?wait", True),
    ([*GET, "parameters", 1, "schema", "maximum"], 30, "GET /jobs/{id} ?wait", False),
    ([*GET, "parameters", 1, "schema", "minimum"], GONE, "GET /jobs/{id} ?wait", True),
    ([*GET, "parameters", 1, "schema", "minimum"], 1, "GET /jobs/{id} ?wait", False),
    ([*GET, "parameters", 1, "schema", "type"], "integer", "GET /jobs/{id} ?wait", False),
    ([*GET, "parameters", 1, "schema", "pattern"], "^1", "GET /jobs/{id} ?wait", False),
    ([*GET, "parameters", 1, "required"], True, "GET /jobs/{id} ?wait", False),
    ([*GET, "parameters", 0, "required"], False, "GET /jobs/{id} /id", True),
    ([*BODY, "properties", "lane", "enum"], ["bulk", "standard", "x"], "POST /jobs/{id} application/json: lane", True),
    ([*BODY, "properties", "lane", "enum"], ["bulk"], "POST /jobs/{id} application/json: lane", False),
    ([*BODY, "properties", "lane", "default"], "standard", "POST /jobs/{id} application/json: lane", False),
    ([*BODY, "properties", "seed"], {"type": "integer"}, "POST /jobs/{id} application/json: seed", False),
    ([*BODY, "properties", "seed", "anyOf", 0, "type"], "number", "POST /jobs/{id} application/json: seed", True),
    ([*BODY, "properties", "new"], {"type": "integer"}, "POST /jobs/{id} application/json: new", True),
    ([*BODY, "required"], ["lane"], "POST /jobs/{id} application/json: lane", False),
    ([*BODY, "properties", "sizes", "items", "properties", "width"], {"type": "string"},
     "POST /jobs/{id} application/json: sizes[].width", False),
    ([*POST, "requestBody", "content", "image/png"], {"schema": {}}, "POST /jobs/{id} image/png", True),
    ([*POST, "responses", "202"], {}, "POST /jobs/{id} 202", False),
    ([*POST, "responses", "200"], GONE, "POST /jobs/{id} 200", False),
    ([*JOB, "share"], GONE, "Job.share", False),
    ([*JOB, "share", "type"], "integer", "Job.share", True),
    ([*JOB, "share", "type"], "string", "Job.share", False),
    ([*JOB, "share"], {"anyOf": [{"type": "number"}, {"type": "null"}]}, "Job.share", False),
    ([*JOB, "error"], {"type": "string"}, "Job.error", True),
    ([*JOB, "error", "anyOf", 0], {"type": "object"}, "Job.error", False),
    ([*JOB, "stop", "enum"], ["clean", "uncertain"], "Job.stop", True),
    ([*JOB, "new"], {"type": "number"}, "Job.new", True),
    (["components", "schemas", "State", "enum"], ["queued", "failed", "lost"], "State", False),
    (["components", "schemas", "State", "enum"], ["queued"], "State", True),
    (["paths", "/new"], {"get": {"responses": {"200": {}}}}, "GET /new", True),
    ([*GET, "deprecated"], True, "GET /jobs/{id}", True),
]  # fmt: skip


def changed(path, value):
    """A copy of the document with another value at a path."""
    document = copy.deepcopy(DOCUMENT)
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def difference(before, after):
    return TOOL["changes"](TOOL["places"](before), TOOL["places"](after))


@pytest.mark.parametrize(
    ("path", "value", "place", "compatible"), CHANGES, ids=lambda value: "gone" if value is GONE else str(value)[-40:]
)
def test_a_change_is_told_by_the_rules_of_the_page(path, value, place, compatible):
    found = difference(DOCUMENT, changed(path, value))
    assert [(change.place, change.compatible) for change in found] == [(place, compatible)]


@pytest.mark.parametrize("path", [[*JOB, "share", "description"], [*JOB, "stop", "title"], [*GET, "summary"]])
def test_words_for_people_are_no_change(path):
    assert difference(DOCUMENT, changed(path, "other")) == []


def test_what_was_deprecated_may_go():
    marked = changed([*GET, "deprecated"], True)
    unmarked = difference(DOCUMENT, changed(GET, GONE))
    assert [change.compatible for change in difference(marked, changed(GET, GONE))] == [True]
    assert [change.compatible for change in unmarked] == [False]


def test_the_api_is_that_of_the_snapshot():
    found = [str(change) for change in TOOL["changes"](SNAPSHOT, TOOL["places"](TOOL["current"]()))]
    assert found == [], (
        "the API has changed: describe in docs/api-changes.md what programs want to know, and run `make api-snapshot`"
    )


def test_the_snapshot_has_every_route_field_and_code():
    document = TOOL["current"]()
    for path, methods in document["paths"].items():
        assert {f"{method.upper()} {path}" for method in methods} <= SNAPSHOT.keys()
    for name, schema in document["components"]["schemas"].items():
        assert {f"{name}.{field}" for field in schema.get("properties", {})} <= SNAPSHOT.keys()
    assert SNAPSHOT["problem gone"]["schema"] == {"const": 410}
    assert "POST /restore multipart/form-data: strength" in SNAPSHOT and "GET /jobs ?label" in SNAPSHOT


def test_an_incompatible_change_must_be_listed_with_its_place():
    change = difference(DOCUMENT, changed(GET, GONE))[0]
    listed = "\n### Incompatible\n\n- `GET /jobs/{id}` is gone: use another.\n\n### Compatible\n"
    assert TOOL["described"](change, listed)
    assert not TOOL["described"](change, PAGE)
    assert not TOOL["described"](change, "\n### Incompatible\n\nNone.\n\n### Compatible\n\n- `GET /jobs/{id}`\n")


def test_the_page_has_the_sections_that_the_rules_need():
    unreleased = PAGE.partition("\n## Unreleased\n")[2]
    assert re.findall(r"^### (.+)$", unreleased, re.MULTILINE)[:2] == ["Incompatible", "Compatible"]
