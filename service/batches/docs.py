"""Describes the bodies of `POST /batches` in OpenAPI."""

from typing import Any

from service.batches.body import NAME_FIELD
from service.openapi import BASE64, BINARY, IMAGE_URL, UPLOAD_ID, option_schemas, options_object

NAME = {"type": "string", "description": "The name of the result in results.zip, without its ending."}


def batch_docs() -> dict[str, Any]:
    """Return the `openapi_extra` of the route."""
    fields, texts = ({**schemas} for schemas in option_schemas("restore"))
    for schemas in (fields, texts):
        del schemas["result_url"]  # Intake refuses it
    sources = {"image_base64": BASE64, "image_url": IMAGE_URL, "upload": UPLOAD_ID}
    image = {
        "type": "object", "properties": {**sources, NAME_FIELD: NAME}, "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in sources],
    }  # fmt: skip
    files = {"type": "array", "items": BINARY, "minItems": 1, "description": "The images, after all other fields."}
    images = {"type": "array", "items": image, "minItems": 1}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": options_object(texts, {"image": files})},
                "application/json": {"schema": options_object(fields, {"images": images})},
            },
        },
    }
