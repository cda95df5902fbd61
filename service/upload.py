"""Reads a request's image and options from any of the three body forms.  A body over the limit is not read further."""

import asyncio
import base64
import binascii
import json
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from jobs.hooks import Hooks
from jobs.spec import Kind
from service.image_header import ImageHeader, check_bytes, inspect_image
from service.refusals import InvalidRequest
from service.request_options import Options, merge_fields, read_options, split_fields
from service.settings import ServiceSettings
from service.upload_refusals import TooLarge, UnsupportedBody

OVERHEAD_BYTES = 64 * 1024
"""Allowed in a body beside its image: boundaries, fields, JSON."""
MAX_FORM_FIELDS = 64


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One request to restore or detect: the encoded image, its header, and the options."""

    kind: Kind
    data: bytes
    header: ImageHeader
    options: Options
    hooks: Hooks | None = None


async def read_upload(request: Request, kind: Kind, settings: ServiceSettings) -> Upload:
    """Read the body of a request.

    Raises:
        TooLarge: by Content-Length, or as soon as the bytes have arrived.
        UnsupportedBody: the content type is none of the three forms.
        InvalidRequest: a field is unknown, missing or out of range.
        NotAnImage, UnsupportedFormat, TooManyPixels: by the image's header.
    """
    data, options = await _read_body(request, kind, settings.max_bytes)
    return Upload(kind=kind, data=data, header=await inspect_image(data, settings.max_megapixels), options=options)


def content_length(request: Request) -> int | None:
    """Return the Content-Length of a request, or None where it states none."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdigit() else None


async def _read_body(request: Request, kind: Kind, max_bytes: int) -> tuple[bytes, Options]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = split_fields(request.query_params.multi_items())
    read_options(kind, query)  # before the bytes, so that a wrong field is refused at once
    if media_type == "multipart/form-data":
        data, fields = await _read_multipart(request, max_bytes)
    elif media_type == "application/json":
        data, fields = await _read_json(request, max_bytes)
        check_bytes(len(data), max_bytes)
        merge_fields(query, fields)  # refuses a field in both
        return data, read_options(kind, query, fields)
    elif media_type.startswith("image/") or media_type == "application/octet-stream":
        return await _read_whole(request, max_bytes), read_options(kind, query)
    else:
        raise UnsupportedBody(f"got content type {media_type or 'none'!r}")
    check_bytes(len(data), max_bytes)
    return data, read_options(kind, merge_fields(query, fields))


async def _stream(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of the body while they are within the limit."""
    _check_body_size(content_length(request) or 0, max_bytes)
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        _check_body_size(count, max_bytes)
        yield chunk


def _check_body_size(count: int, max_bytes: int) -> None:
    if count > max_bytes:
        raise TooLarge(f"the request has {count:,} bytes or more, the limit is {max_bytes:,}")


async def _read_whole(request: Request, max_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in _stream(request, max_bytes):
        data += chunk
    return bytes(data)


async def _read_multipart(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    stream = _stream(request, max_bytes + OVERHEAD_BYTES)
    parser = MultiPartParser(
        request.headers, stream, max_files=1, max_fields=MAX_FORM_FIELDS, max_part_size=OVERHEAD_BYTES
    )  # fmt: skip
    parser.spool_max_size = max_bytes + OVERHEAD_BYTES + 1  # keep it in memory: a pod's disk may be read-only
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the multipart body is damaged: {error.message}") from error
    try:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            _refuse_missing_image("image", "expected a file: -F image=@photo.jpg")
        fields = split_fields((key, value) for key, value in form.multi_items() if isinstance(value, str))
        return await image.read(), fields
    finally:
        await form.close()


async def _read_json(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    body = await _read_whole(request, math.ceil(max_bytes * 4 / 3) + OVERHEAD_BYTES)
    return await asyncio.to_thread(_decode_json, body)  # 40 MB of base64 would block the event loop for too long


def _decode_json(body: bytes) -> tuple[bytes, dict[str, Any]]:
    fields = _json_object(body)
    text = fields.pop("image_base64", None)
    if not isinstance(text, str):
        _refuse_missing_image("image_base64", "expected the image's bytes in base64")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True), fields
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "image_base64: not base64", errors=[{"field": "image_base64", "problem": str(error)}]
        ) from error


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body, object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest("the body is JSON, but not an object")
    return value


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields = merge_fields(fields, {name: value})
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"the body is not JSON: {name} is not a JSON number")


def _refuse_missing_image(field: str, problem: str) -> NoReturn:
    raise InvalidRequest(f"{field}: {problem}", errors=[{"field": field, "problem": problem}])
