"""Reads the body of a request: never more than its limit, never compressed, and JSON without double names."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from fastapi import Request

from service.query import MAX_QUOTED_CHARACTERS
from service.refusals import InvalidRequest
from service.request_options import merge_fields
from service.upload_refusals import TooLarge, UnsupportedBody, UnsupportedEncoding

OVERHEAD_BYTES = 64 * 1024
"""Allowed in a body beside its image: boundaries, fields, JSON."""
BASE64_FROM = 1 << 16
"""Longer texts are decoded in a thread: 40 MB of base64 would block the event loop for too long."""


def content_length(request: Request) -> int | None:
    """Return the Content-Length of a request, or None where it states none."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def check_encoding(request: Request) -> None:
    """Refuse a compressed body: photos are compressed already, and a small body could unpack to gigabytes.

    Raises:
        UnsupportedEncoding: the body has any Content-Encoding.
    """
    encoding = request.headers.get("content-encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedEncoding(
            f"got Content-Encoding: {encoding[:MAX_QUOTED_CHARACTERS]}, and compressed bodies are not read",
            headers={"Accept-Encoding": "identity"},
        )


async def read_small_json(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request without an image; no body is an object without fields.

    Raises:
        TooLarge, UnsupportedBody, UnsupportedEncoding, InvalidRequest: it is none.
    """
    check_encoding(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_whole(request, OVERHEAD_BYTES)
    if body and media_type != "application/json":
        raise UnsupportedBody(f"got content type {media_type or 'none'!r}", hint="send JSON, or no body")
    return json_object(body) if body else {}


async def stream_body(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
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


async def read_whole(request: Request, max_bytes: int) -> bytes:
    """Return the body.

    Raises:
        TooLarge: as soon as it has more than `max_bytes`.
    """
    data = bytearray()
    async for chunk in stream_body(request, max_bytes):
        data += chunk
    return bytes(data)


def with_base64(max_bytes: int) -> int:
    """Return the bytes of a body whose image has `max_bytes` and is written in base64."""
    return math.ceil(max_bytes * 4 / 3) + OVERHEAD_BYTES


async def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object of a body whose image has at most `max_bytes`."""
    body = await read_whole(request, with_base64(max_bytes))
    return json_object(body) if len(body) < BASE64_FROM else await asyncio.to_thread(json_object, body)


def json_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        InvalidRequest: the text is another, has a name twice, or a number that JSON does not have.
    """
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
