"""Reads a request's image and options from any of the body forms.  A body over the limit is not read further."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from jobs.hooks import Hooks
from jobs.spec import Kind
from service.image_header import ImageHeader, check_bytes, inspect_image
from service.query import MAX_QUOTED_CHARACTERS, unknown_field
from service.refusals import InvalidRequest
from service.request_body import (
    BASE64_FROM,
    OVERHEAD_BYTES,
    check_encoding,
    read_json,
    read_whole,
    stream_body,
    with_base64,
)
from service.request_options import Options, merge_fields, read_options, split_fields
from service.settings import ServiceSettings
from service.sources import SOURCE_FIELDS, Source, source_of, split_source
from service.upload_refusals import UnsupportedBody

MAX_FORM_FIELDS = 64


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One request to restore or detect: the encoded image, its header, and the options."""

    kind: Kind
    data: bytes
    header: ImageHeader
    options: Options
    file_name: str | None = None
    batch: str | None = None
    hooks: Hooks | None = None


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One request to restore or detect whose image may still have to be fetched.

    Attributes:
        fields: of query and body, as the client sent them.
        header: of the image, None while it must be fetched.
    """

    kind: Kind
    source: Source
    header: ImageHeader | None
    options: Options
    fields: Mapping[str, Any]


async def read_parcel(request: Request, kind: Kind, settings: ServiceSettings) -> Parcel:
    """Read the body of a request.

    Raises:
        TooLarge: by Content-Length, or as soon as the bytes have arrived.
        UnsupportedBody, UnsupportedEncoding: the content type is none of the forms, or the body is compressed.
        InvalidRequest: a field is unknown, missing, given twice or out of range.
        NotAnImage, UnsupportedFormat, TooManyPixels: by the image's header.
    """
    check_encoding(request)
    query = split_fields(request.query_params.multi_items())
    read_options(kind, split_source(query)[1])  # before the bytes, so that a wrong field is refused at once
    body, file, file_name, is_json = await _read_body(request, settings.max_bytes, bool(split_source(query)[0]))
    fields = merge_fields(query, body)  # refuses a field in both
    in_source, _ = split_source(fields)
    if any(len(str(value)) >= BASE64_FROM for value in in_source.values()):
        source = await asyncio.to_thread(source_of, in_source, file, file_name)
    else:
        source = source_of(in_source, file, file_name)
    if source is None:
        _refuse_missing_image(is_json)
    header = None
    if source.data is not None:
        header = await checked_image(source.data, settings)
    of_query, of_body = split_source(query)[1], split_source(body)[1]
    options = read_options(kind, of_query, of_body) if is_json else read_options(kind, split_source(fields)[1])
    kept = {name: value for name, value in fields.items() if name != "image_base64"}
    return Parcel(kind=kind, source=source, header=header, options=options, fields=kept)


async def checked_image(data: bytes, settings: ServiceSettings) -> ImageHeader:
    """Return the header of an image.

    Raises:
        TooLarge, NotAnImage, UnsupportedFormat, TooManyPixels: the service does not take it.
    """
    check_bytes(len(data), settings.max_bytes)
    return await inspect_image(data, settings.max_megapixels)


async def _read_body(
    request: Request, max_bytes: int, sourced: bool
) -> tuple[dict[str, Any], bytes | None, str | None, bool]:
    """Return the fields of a body, its file with its name, and whether the fields are JSON.

    `sourced`: the query says where the image is, so that the request needs no body.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return *await _read_multipart(request, max_bytes), False
    if media_type == "application/json":
        return await read_json(request, max_bytes), None, None, True
    if media_type.startswith("image/") or media_type == "application/octet-stream":
        return {}, await read_whole(request, max_bytes), None, False
    if sourced and not media_type and not await read_whole(request, 0):
        return {}, None, None, False
    raise UnsupportedBody(f"got content type {media_type or 'none'!r}")


async def _read_multipart(request: Request, max_bytes: int) -> tuple[dict[str, Any], bytes | None, str | None]:
    limit = with_base64(max_bytes)
    parser = MultiPartParser(
        request.headers, stream_body(request, limit), max_files=1, max_fields=MAX_FORM_FIELDS, max_part_size=limit
    )  # fmt: skip
    parser.spool_max_size = limit + 1  # keep it in memory: a pod's disk may be read-only
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the multipart body is damaged: {error.message}") from error
    try:
        fields = split_fields((key, value) for key, value in form.multi_items() if isinstance(value, str))
        _check_texts(fields)
        file = _file(form)
        if file is None:
            return fields, None, None
        check_bytes(file.size or 0, max_bytes)
        return fields, await file.read(), file.filename
    finally:
        await form.close()


def _file(form: FormData) -> UploadFile | None:
    """Return the file `image` of a form.

    Raises:
        InvalidRequest: `image` is not a file, or a file has another name.
    """
    for name, value in form.multi_items():
        if name == "image" and isinstance(value, str):
            _refuse("image", "expected a file: -F image=@photo.jpg")
        if name != "image" and isinstance(value, UploadFile):
            _refuse(name[:MAX_QUOTED_CHARACTERS], unknown_field(name, ["image"]))
    image = form.get("image")
    return image if isinstance(image, UploadFile) else None


def _check_texts(fields: Mapping[str, Any]) -> None:
    """Refuse a long text in a field that is not the image."""
    for name, value in fields.items():
        if name not in SOURCE_FIELDS and isinstance(value, str) and len(value) > OVERHEAD_BYTES:
            _refuse(name[:MAX_QUOTED_CHARACTERS], f"got {len(value)} characters, expected at most {OVERHEAD_BYTES}")


def _refuse_missing_image(is_json: bool) -> NoReturn:
    if is_json:
        _refuse("image_base64", "expected the image's bytes in base64, or image_url or upload instead")
    _refuse("image", "expected a file: -F image=@photo.jpg, or image_url or upload instead")


def _refuse(field: str, problem: str) -> NoReturn:
    raise InvalidRequest(f"{field}: {problem}", errors=[{"field": field, "problem": problem}])
