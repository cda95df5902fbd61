"""docs/api-reference.md: generated from the OpenAPI document, up to date, and complete."""

import re
import runpy
from pathlib import Path

import pytest

from service.app import create_app
from service.refusals import Refusal
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api-reference.md").read_text()
MAKE = runpy.run_path(str(ROOT / "docs" / "make_api_reference.py"))
OPENAPI = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": route for path, methods in OPENAPI["paths"].items() for method, route in methods.items()
}


def section(heading):
    """The part of the page below a heading of the third level."""
    found = re.search(rf"^### {re.escape(heading)}$(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"no section {heading}"
    return found[1]


def tree(kind):
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


def test_the_page_is_what_the_document_generates():
    assert MAKE["page"]() == TEXT, "run `make api-page`"


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_route_has_its_parameters_fields_statuses_and_codes(name):
    text, route = section(f"`{name}`"), OPERATIONS[name]
    assert f"| [`{name}`](#" in TEXT
    for parameter in route.get("parameters", []):
        assert f"| `{parameter['name']}` |" in text or "[`POST /restore`](#post-restore)" in text
    for status, answer in route["responses"].items():
        if status < "400":
            assert f"\n| {status} |" in text
        for example in answer.get("content", {}).get("application/problem+json", {}).get("examples", {}).values():
            code = example["value"]["code"]
            assert f"`{code}`" in text + TEXT.partition("## Problems of every route")[2].partition("\n## ")[0]


def test_the_scopes_are_those_of_the_routes():
    scopes = {"POST /restore": "`restore`", "GET /jobs": "`read`", "GET /limits": "any", "DELETE /queue": "`admin`"}
    for name, scope in scopes.items():
        assert f"Scope of the API key: {scope}." in section(f"`{name}`")
    assert "No API key is needed." in section("`GET /livez`")


@pytest.mark.parametrize("name", OPENAPI["components"]["schemas"])
def test_a_schema_has_its_fields(name):
    fields = re.findall(r"^\| `(\w+)` \|", section(name), re.MULTILINE)
    assert fields == list(OPENAPI["components"]["schemas"][name].get("properties", {}))


@pytest.mark.parametrize("code", [kind.code for kind in tree(Refusal)[1:]])
def test_every_code_has_its_status_and_meaning(code):
    assert re.search(rf"^\| `{code}` \| \d{{3}} \| [^|]+\. \|", TEXT, re.MULTILINE)


TYPES = [
    ({"type": "integer", "minimum": 1, "maximum": 100}, "integer from 1 to 100"),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 604800.0}, "number above 0 to 604800"),
    ({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}, "integer from 0 below 2^63"),
    ({"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 9}]}, "text of up to 9 characters or null"),
    ({"type": "array", "items": {"$ref": "#/components/schemas/Job"}, "maxItems": 4}, "list of [Job](#job) (up to 4)"),
    ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
    ({"type": "string", "format": "date-time"}, "time"),
    ({"enum": ["a", 2]}, "`a`, `2`"),
]


@pytest.mark.parametrize(("schema", "words"), TYPES, ids=lambda value: str(value)[:30])
def test_a_type_is_said_in_words(schema, words):
    assert MAKE["type_words"](schema) == words
