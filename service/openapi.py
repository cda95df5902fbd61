"""Describes the three body forms of an upload in OpenAPI, derived from the model of the fields."""

from typing import Any

from jobs.spec import Kind
from service.image_header import MEDIA_TYPES
from service.negotiation import MAX_WAIT_S
from service.problems import PROBLEM_TYPE
from service.request_options import FIELDS, LIST_FIELDS

BINARY = {"type": "string", "format": "binary"}


def upload_docs(kind: Kind) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads an upload."""
    fields: dict[str, Any] = FIELDS[kind].model_json_schema()["properties"]
    return {
        "parameters": [*(_parameter(name, schema) for name, schema in fields.items()), _prefer_header()],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _object(fields, "image", BINARY)},
                "application/json": {
                    "schema": _object(fields, "image_base64", {"type": "string", "format": "byte"}),
                },
                **{media_type: {"schema": BINARY} for media_type in MEDIA_TYPES.values()},
            },
        },
    }


def completed(document: dict[str, Any], key_optional: bool) -> dict[str, Any]:
    """Add to an OpenAPI document what every route has in common: the refusals before and around it.

    `key_optional`: the service may accept callers without an API key.
    """
    for methods in document["paths"].values():
        for method, route in methods.items():
            responses = route["responses"]
            if key_optional and "security" in route:
                route["security"] = [*route["security"], {}]
            for status, description in _shared_refusals(method, "security" in route).items():
                content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
                responses.setdefault(str(status), {"description": description, "content": content})
            for response in responses.values():
                if PROBLEM_TYPE in response.get("content", {}):  # FastAPI documents every model as application/json
                    response["content"].pop("application/json", None)
            route["responses"] = dict(sorted(responses.items()))
    return document


def _shared_refusals(method: str, needs_key: bool) -> dict[int, str]:
    refusals = {
        400: "Malformed request", 408: "The request arrived too slowly", 414: "The URL is too long",
        421: "Host names another server", 431: "The headers are too large", 500: "Unexpected server error",
    }  # fmt: skip
    if method in ("post", "delete"):
        refusals[403] = "A web page of another origin sent the request"
    if needs_key:
        refusals |= {401: "The API key is missing or unknown", 422: "A field is unknown or out of range",
                     503: "Redis does not answer"}  # fmt: skip
    return refusals


def _object(fields: dict[str, Any], image: str, schema: dict[str, Any]) -> dict[str, Any]:
    properties = {image: schema, **fields}
    return {"type": "object", "properties": properties, "required": [image], "additionalProperties": False}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    parameter = {"name": name, "in": "query", "required": False, "schema": schema}
    if description := schema.get("description"):
        parameter["description"] = description
    if name in LIST_FIELDS:
        parameter |= {"style": "form", "explode": True}
    return parameter


def _prefer_header() -> dict[str, Any]:
    return {
        "name": "Prefer", "in": "header", "required": False, "schema": {"type": "string"},
        "description": f"wait=N: wait up to N seconds (1 to {MAX_WAIT_S}) for the end of the job.",
    }  # fmt: skip
