"""Reads the body of `POST /batches`: a form that streams, or a JSON object."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from service.batches.intake import Intake
from service.batches.parts import MAX_TEXT_BYTES, Part, parts
from service.batches.refusals import BatchTooLarge
from service.query import MAX_QUOTED_CHARACTERS, unknown_field
from service.refusals import InvalidRequest, Refusal
from service.request_body import content_length, read_json
from service.request_options import invalid_field, merge_fields, split_fields
from service.settings import ServiceSettings
from service.sources import SOURCE_FIELDS, Source, source_of, split_source
from service.upload import MAX_FORM_FIELDS
from service.upload_refusals import TooLarge, UnsupportedBody

NAME_FIELD = "name"
TEXT_SOURCES = ("image_url", "upload")
"""The fields of a form that stand for one more image."""


async def read_batch(request: Request, intake: Intake, settings: ServiceSettings) -> None:
    """Read the body and add its images.

    Raises:
        BatchTooLarge, InvalidRequest, UnsupportedBody: the batch as a whole is refused.
    """
    query = split_fields(request.query_params.multi_items())
    for name in SOURCE_FIELDS:
        if name in query:
            raise invalid_field(name, "belongs into the body of a batch")
    size = content_length(request) or 0
    if size > settings.max_batch_bytes:
        raise BatchTooLarge(f"the batch has {size:,} bytes, the limit is {settings.max_batch_bytes:,}")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        await _read_form(request, intake, settings, query)
    elif media_type == "application/json":
        await _read_json(request, intake, settings, query)
    else:
        raise UnsupportedBody(
            f"got content type {media_type or 'none'!r}",
            hint="send multipart/form-data with several files 'image', or JSON with a list 'images'",
        )


async def _read_form(request: Request, intake: Intake, settings: ServiceSettings, query: Mapping[str, Any]) -> None:
    texts: list[tuple[str, str]] = []
    async for part in parts(request, settings.max_bytes, settings.max_batch_bytes):
        is_image = part.file_name is not None or part.name in TEXT_SOURCES
        if not is_image:
            texts.append(_text(part))
            if intake.options is not None:
                raise invalid_field(part.name[:MAX_QUOTED_CHARACTERS], "comes after an image; write the fields first")
            if len(texts) > MAX_FORM_FIELDS:
                raise InvalidRequest(f"the form has more than {MAX_FORM_FIELDS} fields")
            continue
        if intake.options is None:
            await intake.begin(merge_fields(query, split_fields(texts)))
        await intake.add(_source(part, settings.max_bytes), part.file_name)
    if intake.options is None:
        await intake.begin(merge_fields(query, split_fields(texts)))


def _text(part: Part) -> tuple[str, str]:
    name = part.name[:MAX_QUOTED_CHARACTERS]
    if part.over:
        raise invalid_field(name, f"got {part.size} bytes, expected at most {MAX_TEXT_BYTES}")
    if name == "image":
        raise invalid_field("image", "expected files: -F image=@a.jpg -F image=@b.jpg")
    try:
        return part.name, part.data.decode()
    except UnicodeDecodeError as error:
        raise invalid_field(name, "not text in UTF-8") from error


def _source(part: Part, max_bytes: int) -> Source | Refusal:
    if part.file_name is None:
        return _or_refusal({part.name: _text(part)[1]})
    if part.name.removesuffix("[]") not in ("image", "images"):
        raise invalid_field(part.name[:MAX_QUOTED_CHARACTERS], unknown_field(part.name, ["image"]))
    if part.over:
        return TooLarge(f"the image has {part.size:,} bytes or more, the limit is {max_bytes:,}")
    return Source(data=bytes(part.data), file_name=part.file_name)


def _or_refusal(fields: Mapping[str, Any]) -> Source | Refusal:
    try:
        source = source_of(fields)
    except Refusal as refusal:
        return refusal
    return source or invalid_field("image_base64", "expected an image: image_base64, image_url or upload")


async def _read_json(request: Request, intake: Intake, settings: ServiceSettings, query: Mapping[str, Any]) -> None:
    """A JSON body is held in memory, so it has the limit of one image in base64, not that of a batch."""
    fields = await read_json(request, settings.max_bytes)
    images = fields.pop("images", None)
    if not isinstance(images, list):
        raise invalid_field("images", 'expected a list, such as [{"image_url": "https://..."}]')
    if len(images) > settings.max_batch_images:
        raise BatchTooLarge(f"the batch has {len(images)} images, the limit is {settings.max_batch_images}")
    merge_fields(query, fields)
    await intake.begin(query, fields)
    while images:
        entry = images.pop(0)  # what has become a job needs no memory any more
        name, source = await asyncio.to_thread(_entry, entry)
        await intake.add(source, name)


def _entry(entry: object) -> tuple[str | None, Source | Refusal]:
    if not isinstance(entry, dict):
        return None, invalid_field("images", "expected objects with image_base64, image_url or upload")
    name = entry.get(NAME_FIELD)
    if name is not None and not isinstance(name, str):
        return None, invalid_field(NAME_FIELD, "expected a text")
    of_source, others = split_source(entry)
    if unknown := sorted(others.keys() - {NAME_FIELD}):
        return name, invalid_field(unknown[0][:MAX_QUOTED_CHARACTERS], unknown_field(unknown[0], SOURCE_FIELDS))
    return name, _or_refusal(of_source)
