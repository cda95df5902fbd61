"""A request's image and fields, in any of three forms; what is over the limits is not read further."""

import asyncio
import base64
import binascii
import json
import math
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.image_header import check_bytes
from service.options import Fields, T, gathered, merged, read_order
from service.refusals import InvalidRequest, TooLarge, UnsupportedBody

SLACK_BYTES = 64 * 1024
"""What a body may have beside its image: boundaries, fields, JSON."""
MOST_FIELDS = 64


async def read_upload(request: Request, model: type[T], most_bytes: int) -> tuple[bytes, T]:
    """The image's bytes, and what its user said.

    Raises:
        TooLarge: by Content-Length, or as soon as the bytes have come.
        UnsupportedBody: none of the three forms.
        InvalidRequest: a field is unknown, missing or out of its range.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = gathered(request.query_params.multi_items())
    if kind == "multipart/form-data":
        data, fields = await _multipart(request, most_bytes)
    elif kind == "application/json":
        data, fields = await _json(request, most_bytes)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        order = read_order(model, query)  # before the bytes: a wrong word is told at once
        return await _whole(request, most_bytes), order
    else:
        raise UnsupportedBody(f"got content type {kind or 'none'!r}")
    check_bytes(len(data), most_bytes)
    return data, read_order(model, merged(query, fields))


def announced_bytes(request: Request) -> int | None:
    """The body's length as the request states it; None where it does not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdigit() else None


async def _stream(request: Request, most_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body's pieces, while they are within the limit."""
    _check_body(announced_bytes(request) or 0, most_bytes)
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        _check_body(count, most_bytes)
        yield chunk


def _check_body(count: int, most_bytes: int) -> None:
    if count > most_bytes:
        raise TooLarge(f"the request has {count:,} bytes or more, the limit is {most_bytes:,}")


async def _whole(request: Request, most_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in _stream(request, most_bytes):
        data += chunk
    return bytes(data)


async def _multipart(request: Request, most_bytes: int) -> tuple[bytes, Fields]:
    stream = _stream(request, most_bytes + SLACK_BYTES)
    parser = MultiPartParser(
        request.headers, stream, max_files=1, max_fields=MOST_FIELDS, max_part_size=SLACK_BYTES
    )  # fmt: skip
    parser.spool_max_size = most_bytes + SLACK_BYTES + 1  # in memory: the disk of a pod may be read-only
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the multipart body is damaged: {error.message}") from error
    try:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            _no_image("image", "expected a file: -F image=@photo.jpg")
        fields = gathered((key, value) for key, value in form.multi_items() if isinstance(value, str))
        return await image.read(), fields
    finally:
        await form.close()


async def _json(request: Request, most_bytes: int) -> tuple[bytes, Fields]:
    body = await _whole(request, math.ceil(most_bytes * 4 / 3) + SLACK_BYTES)
    return await asyncio.to_thread(_unpacked, body)  # 40 MB of base64 hold a loop up for too long


def _unpacked(body: bytes) -> tuple[bytes, Fields]:
    fields = _object(body)
    text = fields.pop("image_base64", None)
    if not isinstance(text, str):
        _no_image("image_base64", "expected the image's bytes in base64")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True), fields
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "image_base64: not base64", errors=[{"field": "image_base64", "problem": str(error)}]
        ) from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest("the body is JSON, but not an object")
    return found


def _no_image(field: str, problem: str) -> NoReturn:
    raise InvalidRequest(f"{field}: {problem}", errors=[{"field": field, "problem": problem}])
