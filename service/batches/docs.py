"""Describes the bodies of `POST /batches` in OpenAPI."""

from typing import Any

from service.batches.body import NAME_FIELD
from service.openapi import BASE64, BINARY, option_schemas, options_object
from service.sources import SOURCE_FIELDS

NAME = {"type": "string", "description": "The name of the result in results.zip, without its ending."}


def batch_docs() -> dict[str, Any]:
    """Return the `openapi_extra` of the route."""
    fields, texts = option_schemas("restore")
    sources = {name: BASE64 if name == "image_base64" else {"type": "string"} for name in SOURCE_FIELDS}
    image = {
        "type": "object", "properties": {**sources, NAME_FIELD: NAME}, "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in SOURCE_FIELDS],
    }  # fmt: skip
    files = {"type": "array", "items": BINARY, "minItems": 1, "description": "The images, after all other fields."}
    images = {"type": "array", "items": image, "minItems": 1}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": options_object(texts, "image", files)},
                "application/json": {"schema": options_object(fields, "images", images)},
            },
        },
    }
