"""Describes the three body forms of an upload in OpenAPI, derived from the model of the fields.

OpenAPI cannot say that a field may stand in the query or in the body but not in both, that a string of bytes is a
picture, or which bundles the workers have.  docs/api.md says so, and `tests/api_fuzz/hooks.py` knows these exceptions.
"""

from typing import Any

from jobs.spec import Kind
from models.vocabulary import DEGRADATIONS, MAX_WORD_CHARACTERS, PLAIN_WORD
from service.image_header import MEDIA_TYPES
from service.label_fields import LABELS_FIELD, TEXT_SCHEMA
from service.negotiation import MAX_WAIT_S
from service.openapi_examples import add_examples
from service.openapi_headers import add_headers
from service.problems import PROBLEM_TYPE
from service.request_fields import FIELDS, LIST_FIELDS, LISTS

BINARY = {"type": "string", "format": "binary"}
BASE64 = {
    "type": "string", "format": "byte", "minLength": 1,
    "description": "The image's bytes in base64, also as a data: URL, without padding, or with white space.",
}  # fmt: skip
IMAGE_URL = {
    "type": "string", "minLength": 1, "maxLength": 4096, "pattern": "^https?://",
    "description": "The https URL of the image, where the operator allows its host; 403 where URLs are switched off.",
}  # fmt: skip
UPLOAD_ID = {
    "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The id of an upload of POST /uploads.",
}  # fmt: skip
PROMPT_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
"""No control characters, except those of a text of several lines."""
CROP_TEXT = {"type": "string", "pattern": r"^[0-9]{1,5},[0-9]{1,5},[1-9][0-9]{0,4},[1-9][0-9]{0,4}$"}
_SHARE = f"{PLAIN_WORD}=(0|1|0\\.[0-9]{{1,6}})"
SHARES_PATTERN = f"^{_SHARE}(,{_SHARE})*$"
"""A share for each of some degradations, such as noise=0.3,haze=1."""
DEGRADATION_WORD = {
    "title": "DegradationWord",
    "description": "A degradation: a name or an alias of GET /degradations, in any case. Bundles may have more.",
    "anyOf": [
        {"type": "string", "enum": [word for entry in DEGRADATIONS for word in (entry.name, *entry.aliases)]},
        {"type": "string", "pattern": f"^{PLAIN_WORD}$", "maxLength": MAX_WORD_CHARACTERS},
    ],
}
"""The schema of the values of `only` and `skip`."""
CONTRADICTIONS = [
    {
        "not": {
            "required": ["prompt", name],
            "properties": {"prompt": {"type": "string", "minLength": 1}, name: {"type": "array", "minItems": 1}},
        }
    }
    for name in LIST_FIELDS
]
"""`prompt` decides alone what is repaired."""


def upload_docs(kind: Kind) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads an upload."""
    fields, texts = option_schemas(kind)
    elsewhere = {"image_base64": BASE64, "image_url": IMAGE_URL, "upload": UPLOAD_ID}
    return {
        "parameters": [*(_parameter(name, schema) for name, schema in texts.items()), _prefer_header()],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": options_object(texts, {"image": BINARY, **elsewhere})},
                "application/json": {"schema": options_object(fields, elsewhere)},
                **{media_type: {"schema": BINARY} for media_type in MEDIA_TYPES.values()},
            },
        },
    }


def option_schemas(kind: Kind) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schemas of the options in JSON, and as texts in a form or a query."""
    fields = _fields(kind)
    texts = {name: _as_text(name, _without_null(schema)) for name, schema in fields.items()}  # no text means null
    return fields, {**texts, LABELS_FIELD: TEXT_SCHEMA}


def picture_headers() -> list[dict[str, Any]]:
    """Return the request headers of a route that sends a picture."""
    descriptions = {
        "Range": "bytes=FIRST-LAST: send only these bytes.",
        "If-Range": "The ETag of the bytes that the client has; with another one, Range does not count.",
        "If-None-Match": "ETags of the images that the client has; 304 if it is one of them.",
        "Prefer": "redirect: answer 303 with a URL in the store where the store is S3.",
    }
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in descriptions.items()
    ]
    parameters[-1]["example"] = "redirect"
    return parameters


def _fields(kind: Kind) -> dict[str, Any]:
    """Return the schemas of the fields, with what their validators add to the ranges."""
    fields: dict[str, Any] = FIELDS[kind].model_json_schema()["properties"]
    for name in fields.keys() & set(LIST_FIELDS):
        fields[name]["items"] = {"$ref": "#/components/schemas/DegradationWord"}
    if "prompt" in fields:
        fields["prompt"]["anyOf"][0]["pattern"] = PROMPT_PATTERN
        shares = next(option for option in fields["strength"]["oneOf"] if option["type"] == "object")
        shares["propertyNames"] = {"$ref": "#/components/schemas/DegradationWord"}
        fields["crop"]["anyOf"].append(CROP_TEXT)
    return fields


def _as_text(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field in a form or a query string, where it is a text."""
    if name == "crop":
        return {"title": "Crop", "description": schema["description"], **CROP_TEXT}
    if name == "strength":
        number = next(option for option in schema["oneOf"] if option["type"] == "number")
        return {
            "title": "Strength", "description": schema["description"], "default": schema["default"],
            "oneOf": [number, {"type": "string", "pattern": SHARES_PATTERN}],
        }  # fmt: skip
    return schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an optional field for a query string or a form."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **options[0]}


def completed(document: dict[str, Any], key_optional: bool) -> dict[str, Any]:
    """Add to an OpenAPI document what every route has in common: the refusals before and around it.

    `key_optional`: the service may accept callers without an API key.
    """
    document["components"]["schemas"]["DegradationWord"] = DEGRADATION_WORD
    for methods in document["paths"].values():
        for method, route in methods.items():
            for parameter in route.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
            responses = route["responses"]
            needs_admin_key = "admin" in route.get("tags", ()) and method != "get"
            if key_optional and "security" in route and not needs_admin_key:
                route["security"] = [*route["security"], {}]
            for status, description in _shared_refusals(method, "security" in route).items():
                content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
                responses.setdefault(str(status), {"description": description, "content": content})
            for response in responses.values():
                if PROBLEM_TYPE in response.get("content", {}):  # FastAPI documents every model as application/json
                    response["content"].pop("application/json", None)
            route["responses"] = dict(sorted(responses.items()))
            add_examples(route)
            add_headers(route)
    return document


def _shared_refusals(method: str, needs_key: bool) -> dict[int, str]:
    refusals = {
        400: "Malformed request", 408: "The request arrived too slowly", 414: "The URL is too long",
        421: "Host names another server", 431: "The headers are too large", 500: "Unexpected server error",
    }  # fmt: skip
    if method in ("post", "delete"):
        refusals[403] = "A web page of another origin sent the request"
    if needs_key:
        refusals |= {
            401: "The API key is missing or unknown", 403: "The API key may not do this",
            406: "Accept contains none of the types of the response", 422: "A field is unknown or out of range",
            429: "A quota of the caller is used up",
            503: "Redis does not answer",
        }  # fmt: skip
    return refusals


def options_object(fields: dict[str, Any], sources: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a body with exactly one source of the image."""
    rules = {"allOf": CONTRADICTIONS} if "prompt" in fields else {}
    one = [{"required": [name]} for name in sources]
    properties = {**sources, **fields}
    return {"type": "object", "properties": properties, "oneOf": one, "additionalProperties": False, **rules}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    # The body has the same fields: a generated client that sends the defaults of both would give each field twice
    schema = {key: value for key, value in schema.items() if key != "default"}
    parameter = {"name": name, "in": "query", "required": False, "allowEmptyValue": True, "schema": schema}
    if description := schema.get("description"):
        parameter["description"] = description
    if name in LISTS:
        parameter |= {"style": "form", "explode": True}
    return parameter


def _prefer_header() -> dict[str, Any]:
    return {
        "name": "Prefer", "in": "header", "required": False, "schema": {"type": "string"},
        "description": f"wait=N: wait up to N seconds (1 to {MAX_WAIT_S}) for the end of the job. redirect: answer a "
        "request for the image with a URL in the store.",
    }  # fmt: skip
