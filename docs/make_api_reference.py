"""Write docs/api-reference.md from the OpenAPI document of the service (`make api-page`).

Example: python docs/make_api_reference.py
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from inspect import getdoc
from pathlib import Path
from textwrap import wrap
from typing import Any

from fastapi.routing import APIRoute

from service.app import create_app
from service.authentication import declared_scope
from service.problem_pages import refusals_by_code
from service.problems import PROBLEM_TYPE
from service.settings import ServiceSettings

PAGE = Path(__file__).with_name("api-reference.md")
BODY_TYPES = ("multipart/form-data", "application/json")
GROUPS = {
    "restore": "Restore",
    "jobs": "Jobs and images",
    "batches": "Batches",
    "about": "About the service",
    "admin": "For operators",
    "health": "Probes",
}
"""The tags of the routes in the order of the page, with their headings."""
EXPLAINED = {
    "api.md#a-job": ("JobBody", "PassBody", "ChangeBody", "UnderstoodBody", "QueuePosition", "VariantBody", "State"),
    "api.md#send-an-image": ("Params",),
    "api.md#batches": ("BatchBody", "BatchCounts", "BatchItemBody"),
    "api.md#estimate": ("EstimateBody", "ImageEstimate", "MemoryEstimate", "QueueEstimate", "Learned"),
    "api.md#limits": ("Limits",),
    "api.md#uploads-into-the-store": ("UploadBody",),
    "api.md#errors": ("ErrorBody", "Problem"),
    "webhooks.md#look-and-repeat": ("DeliveryList", "DeliveryBody", "AttemptBody"),
    "admin.md": ("WorkerBody", "LaneView", "LaneState", "QueueBody", "Purged", "OperatorMark"),
}
"""Where a page explains the fields of a schema."""
COMMON_HEADERS = {"X-Request-Id", "traceparent", "RateLimit", "RateLimit-Policy"}
TITLE = """# HTTP API: reference

Every route with its parameters, its body, its answers and its problems. [The HTTP API](api.md) explains how to use
them, [Recipes](recipes.md) has complete programs, and [Changes of the API](api-changes.md) says what may change.

`make api-page` writes this page from the OpenAPI document, which a running service has at `/openapi.json`, and at
`/docs` for people with examples of every answer. Do not edit it.
"""
EVERY_ANSWER = """## Headers of every answer

| header | meaning |
|---|---|
"""
EVERY_ROUTE = """## Problems of every route

The routes above list only problems of their own. These may come from each:
"""
PROBLEMS = """## Problem codes

An error is a problem (RFC 9457). Its `code` is stable, and its `type` is a page of the service, such as
`/problems/too-large`, with the same text and an example. [Errors](api.md#errors) shows one. The statuses of
`job-failed` depend on the job's own error.

| code | status | meaning | what to do |
|---|---|---|---|
"""


def page() -> str:
    """Returns the page."""
    app = create_app(ServiceSettings(redis_url="redis://127.0.0.1:1", store_url="memory://"))
    document = app.openapi()
    scopes = {
        (method, route.path): declared_scope(route, method)
        for route in _leaves(app.routes) if isinstance(route, APIRoute)
        for method in route.methods or ()
    }  # fmt: skip
    operations = [
        (method.upper(), path, _with_restore_fields(operation, document))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    shared = _shared_problems(operations)
    parts = [TITLE, _overview(operations, scopes)]
    for tag, heading in GROUPS.items():
        parts.append(f"## {heading}\n")
        parts += [_route(*one, scopes[one[:2]], shared) for one in operations if one[2]["tags"] == [tag]]
    parts += [_every_answer(operations), _shared(shared), _schemas(document["components"]["schemas"]), _problem_codes()]
    return "\n".join(parts)


def _with_restore_fields(operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Returns an operation whose body is without the options of `POST /restore`, if it has all of them and is another.

    `x-all-options` says that it had them.
    """
    restore = document["paths"]["/restore"]["post"]
    options = {one["name"] for one in restore["parameters"] if one["in"] == "query"}
    content = operation.get("requestBody", {}).get("content", {})
    if operation is restore or not any(options <= _properties(one).keys() for one in content.values()):
        return operation
    shorter = {
        name: {
            "schema": {
                **one["schema"],
                "properties": {key: value for key, value in _properties(one).items() if key not in options},
            }
        }
        for name, one in content.items()
    }
    return {**operation, "requestBody": {"content": shorter}, "x-all-options": True}


def _leaves(routes: Iterable[Any]) -> Iterator[Any]:
    """Every route below included routers."""
    for route in routes:
        below = getattr(getattr(route, "original_router", route), "routes", None)
        if below:
            yield from _leaves(below)
        else:
            yield route


def _overview(operations: list[Any], scopes: dict[Any, str | None]) -> str:
    rows = ["| route | scope of the key | |", "|---|---|---|"]
    for tag in GROUPS:
        for method, path, operation in operations:
            if operation["tags"] == [tag]:
                name = f"{method} {path}"
                first = _first_sentence(operation["description"])
                rows.append(f"| [`{name}`](#{_anchor(name)}) | {_scope_word(scopes[method, path])} | {first} |")
    return "\n".join(["## Routes\n", *rows, ""])


def _route(method: str, path: str, operation: dict[str, Any], scope: str | None, shared: dict[str, set[str]]) -> str:
    key = "No API key is needed." if scope is None else f"Scope of the API key: {_scope_word(scope)}."
    deprecated = ["**Deprecated.**\n"] if operation.get("deprecated") else []
    return "\n".join([
        f"### `{method} {path}`\n", *deprecated, *_paragraphs(operation["description"]), f"{key}\n",
        *_parameters(operation), *_body(operation), *_answers(operation), *_problems(operation, shared),
    ])  # fmt: skip


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    """The parameters that are not fields of the body, too."""
    fields = {name for content in _contents(operation) for name in _properties(content)}
    rows = [
        f"| `{one['name']}` | {one['in']} | {type_words(one['schema'])} | {_default(one['schema'])} | "
        f"{_required(one.get('required'), _cell(one.get('description', '')))} |"
        for one in operation.get("parameters", [])
        if not (one["in"] == "query" and one["name"] in fields)
    ]  # fmt: skip
    if rows:
        yield from ("| parameter | in | type | default | meaning |", "|---|---|---|---|---|", *rows, "")


def _body(operation: dict[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return
    form, in_json = (_properties(content.get(name, {})) for name in BODY_TYPES)
    required = content.get(BODY_TYPES[1], {}).get("schema", {}).get("required", [])
    pictures = [name for name in content if name not in BODY_TYPES]
    ways = [f"`{name}`" for name in BODY_TYPES if name in content]
    whole = f", or an image as the whole body: {_listed(pictures)}" if pictures else ""
    yield from _paragraphs(f"Body: {', '.join(ways)}{whole}.")
    if any(one["in"] == "query" and one["name"] in {**form, **in_json} for one in operation.get("parameters", [])):
        yield "The query may have the fields, too, in the form that they have in a form.\n"
    if operation.get("x-all-options"):
        yield "The body also takes the options of [`POST /restore`](#post-restore).\n"
    yield from ("| field | type | default | meaning |", "|---|---|---|---|")
    for name in {**form, **in_json}:
        schema = form.get(name) or in_json[name]
        text = _required(name in required, _cell(schema.get("description", "")))
        yield f"| `{name}` | {_both_types(form.get(name), in_json.get(name))} | {_default(schema)} | {text} |"
    yield ""


def _both_types(form: dict[str, Any] | None, in_json: dict[str, Any] | None) -> str:
    """The type of a field in a form and in JSON, where they differ.  Null means absent, so it is left out."""
    words = [type_words(schema).removesuffix(" or null") for schema in (form, in_json) if schema is not None]
    if len(words) == 2:
        return words[0] if words[0] == words[1] else f"{words[0]}; in JSON {words[1]}"
    return words[0]


def _answers(operation: dict[str, Any]) -> Iterator[str]:
    yield from ("| status | answer | headers |", "|---|---|---|")
    for status, answer in operation["responses"].items():
        if status >= "400" and PROBLEM_TYPE in answer.get("content", {}):
            continue
        text = answer["description"].replace("Successful Response", "")
        kinds = _listed_contents(answer.get("content", {}))
        headers = ", ".join(f"`{name}`" for name in answer["headers"] if name not in COMMON_HEADERS)
        yield f"| {status} | {': '.join(part for part in (_cell(text), kinds) if part)} | {headers} |"
    yield ""


def _listed_contents(content: dict[str, Any]) -> str:
    """What an answer contains; the formats of images together."""
    kinds = [name for name in content if name.startswith("image/")]
    words = [_listed(kinds)] if kinds else []
    words += [
        f"`{name}` of {type_words(one['schema'])}" if "$ref" in one["schema"] else f"`{name}`"
        for name, one in content.items() if name not in kinds
    ]  # fmt: skip
    return " or ".join(words)


def _codes(operation: dict[str, Any]) -> dict[str, list[str]]:
    """The codes of the problems of a route, by status."""
    found: dict[str, list[str]] = {}
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get(PROBLEM_TYPE, {})
        examples = [content["example"]] if "example" in content else []
        examples += [one["value"] for one in content.get("examples", {}).values()]
        if examples:
            found[status] = list(dict.fromkeys(one["code"] for one in examples))
    return found


def _shared_problems(operations: list[Any]) -> dict[str, set[str]]:
    """The codes of every route, of those that need a key, and of POST and DELETE."""
    keyed = [one for _, _, one in operations if "security" in one]
    every = set.intersection(*({f"{s} {c}" for s, cs in _codes(one).items() for c in cs} for _, _, one in operations))
    of_keys = set.intersection(*({f"{s} {c}" for s, cs in _codes(one).items() for c in cs} for one in keyed))
    return {"every route": every, "every route with an API key": of_keys - every}


def _problems(operation: dict[str, Any], shared: dict[str, set[str]]) -> Iterator[str]:
    hidden = set().union(*shared.values())
    words = [
        f"{status} {', '.join(f'`{code}`' for code in own)}"
        for status, codes in _codes(operation).items()
        if (own := [code for code in codes if f"{status} {code}" not in hidden])
    ]
    if words:
        yield from (*wrap(f"Problems: {'; '.join(words)}.", 118, break_on_hyphens=False, break_long_words=False), "")


def _shared(shared: dict[str, set[str]]) -> str:
    lines = []
    for who, codes in shared.items():
        listed = ", ".join("{} `{}`".format(*code.split()) for code in sorted(codes))
        bullet = wrap(f"- {who}: {listed}", 118, subsequent_indent="  ", break_on_hyphens=False)
        lines += bullet
    return "\n".join([EVERY_ROUTE, *lines, ""])


def _every_answer(operations: list[Any]) -> str:
    headers: dict[str, list[str]] = {}
    for _, _, operation in operations:
        for answer in operation["responses"].values():
            for name, header in answer["headers"].items():
                if header["description"] not in headers.setdefault(name, []):
                    headers[name].append(header["description"])
    common = "\n".join(f"| `{name}` | {_cell(' '.join(headers[name]))} |" for name in sorted(COMMON_HEADERS))
    others = "\n".join(
        f"| `{name}` | {_cell(' '.join(headers[name]))} |" for name in sorted(headers.keys() - COMMON_HEADERS)
    )
    named = "## Headers that the routes name\n\n| header | meaning |\n|---|---|\n"
    return f"{EVERY_ANSWER}{common}\n\n{named}{others}\n"


def _schemas(schemas: dict[str, Any]) -> str:
    lines = ["## Schemas\n"]
    for name, schema in schemas.items():
        lines += [f"### {name}\n", *_paragraphs(schema.get("description", ""))]
        fields = schema.get("properties", {})
        if not fields:
            lines += _paragraphs(type_words(schema))
        elif any("description" in field for field in fields.values()):
            lines += ["| field | type | meaning |", "|---|---|---|"]
            lines += [
                f"| `{key}` | {type_words(one)} | {_cell(one.get('description', ''))} |" for key, one in fields.items()
            ]
        else:
            lines += [
                "| field | type |",
                "|---|---|",
                *(f"| `{key}` | {type_words(one)} |" for key, one in fields.items()),
            ]
        lines += [""] if fields else []
        lines += [f"[More]({link})\n" for link, names in EXPLAINED.items() if name in names]
    return "\n".join(lines)


def _problem_codes() -> str:
    rows = []
    for code, kind in refusals_by_code().items():
        meaning, hint = _cell(getdoc(kind) or ""), _cell(kind.hint)
        rows.append(f"| `{code}` | {kind.status.value} | {meaning} | {hint} |")
    return PROBLEMS + "\n".join(rows) + "\n"


def type_words(schema: dict[str, Any]) -> str:
    """Returns the type of a schema and its range in words, as Markdown."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    options = schema.get("anyOf") or schema.get("oneOf") or []
    if options and "type" not in schema:
        words = dict.fromkeys(type_words(one) for one in options if one.get("type") != "null")
        return " or ".join([*words, *(["null"] if len(words) < len(options) else [])])
    if "enum" in schema:
        return _listed([str(value) for value in schema["enum"]])
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items") or schema.get("prefixItems", [{}])[0]
        return f"list of {type_words(items)}{_bounds(schema)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_words(values)}" if isinstance(values, dict) and values else _object_words(schema)
    words = {"string": "text", "boolean": "true or false", "date-time": "time", "binary": "bytes", "byte": "base64"}
    plain = str(schema.get("format", kind))
    return f"{words.get(plain, words.get(str(kind), str(kind)))}{_bounds(schema)}"


def _object_words(schema: dict[str, Any]) -> str:
    fields = schema.get("properties", {})
    return f"object with {_listed(list(fields))}" if fields else "object"


def _bounds(schema: dict[str, Any]) -> str:
    """The range of a number, or the greatest length."""
    if "maxLength" in schema:
        return f" of up to {schema['maxLength']} characters"
    if "maxItems" in schema:
        return f" ({'' if schema.get('minItems') == schema['maxItems'] else 'up to '}{schema['maxItems']})"
    words = [
        f"{word} {_number(schema[key])}"
        for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"),
                          ("exclusiveMaximum", "below"))
        if key in schema
    ]  # fmt: skip
    return f" {' '.join(words)}" if words else ""


def _number(value: float) -> str:
    if value >= 2**53:
        return f"2^{math.log2(value):g}"
    return str(int(value)) if value == int(value) else str(value)


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    return "" if value is None or value in ([], {}) else f"`{json.dumps(value)}`"


def _contents(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return list(operation.get("requestBody", {}).get("content", {}).values())


def _properties(content: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = content.get("schema", {}).get("properties", {})
    return properties


def _required(required: bool | None, text: str) -> str:
    return f"Required. {text}".rstrip() if required else text


def _scope_word(scope: str | None) -> str:
    return {None: "none", "any": "any"}.get(scope, f"`{scope}`")


def _listed(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring in lines of 120 characters, each with an empty line after it."""
    for paragraph in text.split("\n\n"):
        if words := " ".join(paragraph.split()):
            yield from (*wrap(words, 118, break_on_hyphens=False, break_long_words=False), "")


def _first_sentence(text: str) -> str:
    return _cell(re.split(r"(?<=[.:])\s", text, maxsplit=1)[0].rstrip(":."))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page())
