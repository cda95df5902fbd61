"""`POST /estimate`: what images would cost."""

from typing import Any

from fastapi import APIRouter, Request

from jobs.spec import Kind
from service.authentication import AuthenticatedCaller
from service.estimates import EstimateBody, estimate
from service.image_header import MAX_SIDE_PX
from service.known_degradations import check_degradations
from service.openapi import option_schemas
from service.query import check_query
from service.refusals import InvalidRequest
from service.request_body import check_encoding, read_json
from service.request_options import invalid_field, read_options
from service.routes.dependencies import CurrentDesk, path_prefix, problem_responses
from service.served_bundles import check_served
from service.upload_refusals import TooManyPixels, UnsupportedBody
from service.webhooks.acceptance import accepted_hooks

router = APIRouter(tags=["restore"])
MAX_SIZES = 1000
MAX_BODY_BYTES = 64 * 1024
SIDE = {"type": "integer", "minimum": 1, "maximum": MAX_SIDE_PX}
SIZE = {
    "type": "object", "properties": {"width": SIDE, "height": SIDE}, "required": ["width", "height"],
    "additionalProperties": False,
}  # fmt: skip


def _docs() -> dict[str, Any]:
    fields, _ = option_schemas("restore")
    properties = {
        "images": {"type": "array", "items": SIZE, "minItems": 1, "maxItems": MAX_SIZES},
        "kind": {"type": "string", "enum": ["restore", "detect"], "default": "restore"},
        **fields,
    }
    schema = {"type": "object", "properties": properties, "required": ["images"], "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/estimate", openapi_extra=_docs(), responses=problem_responses(401, 413, 415, 422, 503))
async def estimate_images(request: Request, desk: CurrentDesk, caller: AuthenticatedCaller) -> EstimateBody:
    """Estimate seconds, memory and place in line for images of given sizes, without sending them.

    The numbers are learned from jobs that have succeeded lately. Before there is one, they are null.
    """
    check_query(request, has_upload=False)
    check_encoding(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedBody("expected application/json", hint='send {"images": [{"width": 4000, "height": 3000}]}')
    fields = await read_json(request, MAX_BODY_BYTES)
    sizes, kind = _sizes(fields.pop("images", None)), _kind(fields.pop("kind", "restore"))
    options = read_options(kind, {}, fields)
    await accepted_hooks(options.hooks, desk.settings, desk.queue.keys, caller.owner, path_prefix(request))
    await check_served(desk.queue, options.bundle, desk.settings.bundle)
    bundle = options.bundle or desk.settings.bundle
    await check_degradations(desk.queue, bundle, options)
    _check_pixels(sizes, desk.settings.max_megapixels)
    return await estimate(desk.queue, kind, bundle, options, sizes, caller.owner)


def _kind(value: object) -> Kind:
    if value == "restore" or value == "detect":
        return value
    raise invalid_field("kind", "expected restore or detect")


def _sizes(value: object) -> list[tuple[int, int]]:
    """Return the sizes of the images.

    Raises:
        InvalidRequest: not a list of sizes.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIZES:
        raise invalid_field("images", f'expected 1 to {MAX_SIZES} sizes, such as [{{"width": 4000, "height": 3000}}]')
    return [_size(entry) for entry in value]


def _check_pixels(sizes: list[tuple[int, int]], max_megapixels: float) -> None:
    """Refuse the sizes that `POST /restore` would refuse.

    Raises:
        TooManyPixels: an image has too many.
    """
    for width, height in sizes:
        if width * height > max_megapixels * 1e6:
            raise TooManyPixels(f"an image of {width} x {height} has more than {max_megapixels:g} megapixels")


def _size(entry: object) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"width", "height"}:
        raise invalid_field("images", "expected objects with width and height")
    return _side("width", entry["width"]), _side("height", entry["height"])


def _side(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad_side(name, value)
    if not 1 <= value <= MAX_SIDE_PX or value != int(value):  # 1e400 is infinite, and no whole number
        raise _bad_side(name, value)
    return int(value)


def _bad_side(name: str, value: object) -> InvalidRequest:
    return invalid_field(name, f"got {str(value)[:40]}, expected a whole number from 1 to {MAX_SIDE_PX}")
