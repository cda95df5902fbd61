"""OpenAPI's words for the three forms of an upload, from the order's own model."""

from typing import Any

from pydantic import BaseModel

from service.image_header import MEDIA_TYPES
from service.options import LISTS

BINARY = {"type": "string", "format": "binary"}


def request_docs(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra` of a route that reads its own body."""
    fields: dict[str, Any] = model.model_json_schema()["properties"]
    return {
        "parameters": [*(_parameter(name, schema) for name, schema in fields.items()), *_headers()],
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
    described = {"name": name, "in": "query", "required": False, "schema": schema}
    if words := schema.get("description"):
        described["description"] = words
    if name in LISTS:
        described |= {"style": "form", "explode": True}
    return described


def _headers() -> list[dict[str, Any]]:
    return [
        {
            "name": "Prefer", "in": "header", "required": False, "schema": {"type": "string"},
            "description": "wait=N: answer when the job is over, after N seconds (1 to 60) at the latest.",
        },
    ]  # fmt: skip
