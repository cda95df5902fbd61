"""Renders the OpenAPI document as one page of plain HTML, without scripts or external resources."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
section { border-top: 1px solid #8886; padding: .5rem 0 1rem; }
h2 { font: 600 1.1rem ui-monospace, monospace; }
h2 b { text-transform: uppercase; }
h3 { font-size: 1rem; margin: .75rem 0 .25rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem 0; }
td:first-child { font-family: ui-monospace, monospace; }
code, pre { font-family: ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #8886; padding: .5rem; }
@media (max-width: 40rem) {
  thead { display: none; }
  table, tbody, tr, td { display: block; padding: 0; }
  tr { border-top: 1px solid #8883; padding: .4rem 0; }
  td:first-child { font-weight: 600; }
  td:nth-child(5)::before { content: "Example: "; }
}
"""
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def content_security_policy() -> str:
    """Return the page's Content-Security-Policy, which allows only its own style."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return CONTENT_SECURITY_POLICY.format(digest)


def docs_page(openapi: dict[str, Any]) -> str:
    """Return the HTML page."""
    info = openapi["info"]
    routes = [
        _route(method, path, route)
        for path, methods in openapi["paths"].items()
        for method, route in methods.items()
    ]  # fmt: skip
    schemas = [_schema(name, schema) for name, schema in openapi.get("components", {}).get("schemas", {}).items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>"
        '<p>Machine-readable: <a href="openapi.json">openapi.json</a></p>'
        f"<main>{''.join(routes)}<h1>Schemas</h1>{''.join(schemas)}</main></html>"
    )


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    return (
        f"<section><h2><b>{escape(method)}</b> {_breakable(path)}</h2>{_example(method, path, route)}"
        f"<p>{_with_code(route.get('description', ''))}</p>"
        f"{_parameters(route.get('parameters', []))}{_request(route)}{_responses(route.get('responses', {}))}</section>"
    )


def _example(method: str, path: str, route: dict[str, Any]) -> str:
    """Return a curl command for a route; $API is the service's URL."""
    url = "$API" + path.replace("{job_id}", "$ID").replace("{number}", "1")
    implied = "post" if "requestBody" in route else "get"
    options = "" if method == implied else f"-X {method.upper()} "
    types = {name for response in route.get("responses", {}).values() for name in response.get("content", {})}
    forms = route.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in forms:
        options += "-F image=@photo.jpg "
    elif "application/json" in forms:
        options += f"-H 'Content-Type: application/json' -d '{json.dumps(forms['application/json']['example'])}' "
    elif "text/event-stream" in types:
        options += "-N "
    elif any(name.startswith("image/") for name in types):
        return f"<pre>{escape(f'curl -f {url} -o image.png')}</pre>"
    return f"<pre>{escape(f'curl {options}{url}')}</pre>"


def _breakable(text: str) -> str:
    """Return text as HTML in which paths and media types may break after slashes."""
    return re.sub(r"(?<=/)(?=\w|\{)", "<wbr>", escape(text))


def _with_code(text: str) -> str:
    """Return a docstring as HTML."""
    return _coded(escape(text))


def _coded(html: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html)


def _parameters(parameters: list[dict[str, Any]]) -> str:
    rows = [
        (
            entry["name"],
            entry["in"],
            _type(entry.get("schema", {})),
            entry.get("description", ""),
            json.dumps(entry["example"]) if "example" in entry else "",
        )
        for entry in parameters
    ]
    return _table("Parameters", ("name", "in", "type", "", "example"), rows)


def _request(route: dict[str, Any]) -> str:
    content = route.get("requestBody", {}).get("content", {})
    rows = [(media_type, _type(entry.get("schema", {}))) for media_type, entry in content.items()]
    examples = [
        (f"Example of a body: {media_type}", entry["example"])
        for media_type, entry in content.items()
        if media_type == "application/json" and "example" in entry
    ]
    return _table("Body (one of)", ("content type", "schema"), rows) + _json_examples(examples)


def _responses(responses: dict[str, Any]) -> str:
    rows = [
        (
            status,
            response.get("description", ""),
            ", ".join(_response(*item) for item in response.get("content", {}).items()),
        )
        for status, response in responses.items()
    ]
    examples = [
        (f"Example of {status}: {name}", example["value"])
        for status, response in responses.items()
        for content in response.get("content", {}).values()
        for name, example in content.get("examples", {}).items()
        if status < "400"
    ]
    return _table("Responses", ("status", "", "schema"), rows) + _json_examples(examples)


def _json_examples(examples: Sequence[tuple[str, Any]]) -> str:
    """Return examples that open on a click."""
    return "".join(
        f"<details><summary>{escape(title)}</summary><pre>{escape(json.dumps(value, indent=2))}</pre></details>"
        for title, value in examples
    )


def _response(media_type: str, content: dict[str, Any]) -> str:
    schema = _type(content.get("schema", {}))
    return f"{media_type}: {schema}" if schema else media_type


def _schema(name: str, schema: dict[str, Any]) -> str:
    rows = [
        (field, _type(entry), entry.get("description", "")) for field, entry in schema.get("properties", {}).items()
    ]
    without_fields = f"<h3>{escape(name)}</h3><p><code>{escape(_type(schema))}</code></p>"
    return f"<section>{_table(name, ('field', 'type', ''), rows) or without_fields}</section>"


def _table(title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(word)}</th>" for word in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{_coded(_breakable(str(cell)))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<h3>{escape(title)}</h3><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _type(schema: dict[str, Any]) -> str:
    """Return a short description of a schema's type and range."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and "properties" in schema:
        return ", ".join(schema["properties"])
    return " ".join([str(schema.get("format") or schema.get("type", "")), *_bounds(schema)]).strip()


def _bounds(schema: dict[str, Any]) -> list[str]:
    signs = {
        "minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<", "maxLength": "length <=",
        "maxItems": "items <=", "default": "default",
    }  # fmt: skip
    return [f"{sign} {json.dumps(schema[key])}" for key, sign in signs.items() if schema.get(key) is not None]
