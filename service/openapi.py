"""Describes the three body forms of an upload in OpenAPI, derived from the model of the fields."""

from typing import Any

from jobs.spec import Kind
from service.image_header import MEDIA_TYPES
from service.negotiation import MAX_WAIT_S
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
