"""`GET /jobs/{id}/result` and `/jobs/{id}/passes/{n}/image`: the restored image and the image after each pass."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from jobs.record import JobRecord, Result
from jobs.spec import Format
from models.controls import MAX_VARIANTS
from service.authentication import AuthenticatedCaller
from service.conditional import etag_of
from service.desk import Desk
from service.failed_jobs import check_succeeded
from service.image_header import MEDIA_TYPES, SIGNATURE_BYTES, sniff_format
from service.negotiation import check_accepted, format_to_convert_to, prefers_redirect
from service.openapi import BINARY, picture_headers
from service.picture import REDIRECT_HEADERS, Picture, not_modified, picture_response, reader_of, stem_of
from service.proxies import is_head
from service.refusals import Gone, NoSuchPass, NoSuchVariant
from service.routes.dependencies import CurrentDesk, CurrentTranscoder, JobId, OpenAPIResponses, problem_responses
from service.transcode import Conversion

router = APIRouter(tags=["jobs"])
_CONTENT = {media_type: {"schema": BINARY} for media_type in MEDIA_TYPES.values()}
IMAGE_RESPONSES: OpenAPIResponses = {
    200: {"content": _CONTENT, "description": "The image"},
    206: {"content": _CONTENT, "description": "The bytes that Range asks for"},
    303: {"description": "Prefer: redirect; Location is a URL in the store that is valid for a few minutes"},
    304: {"description": "Not modified"},
}


@router.get(
    "/jobs/{job_id}/result",
    response_class=Response,
    responses={
        **IMAGE_RESPONSES,
        **problem_responses(401, 404, 406, 409, 410, 416, 422, 500, 503, 504, 507),
    },
    openapi_extra={"parameters": picture_headers()},
)
async def result(
    job_id: JobId,
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
    transcoder: CurrentTranscoder,
    format: Annotated[Format | None, Query(description="Convert the image to this format.")] = None,
    quality: Annotated[int | None, Query(ge=1, le=100, description="Of JPEG, WebP and AVIF.")] = None,
    variant: Annotated[int, Query(ge=1, le=MAX_VARIANTS, description="Which of several results, from 1.")] = 1,
) -> Response:
    """Return the restored image as stored, or converted to the format that `format` or `Accept` requests."""
    record = await desk.find(job_id, caller)
    stored = _stored_result(record, variant)
    stored_format: Format = stored.format  # type: ignore[assignment]
    wanted = format or format_to_convert_to(request.headers.get("accept"), stored_format) or stored_format
    as_stored = wanted == stored_format and quality is None
    etag = f'"{stored.sha256}"' if as_stored else f'"{stored.sha256}-{wanted}-{quality or ""}"'
    if unchanged := not_modified(request, etag):
        return unchanged
    stem = stem_of(record.spec.file_name, job_id)
    if as_stored:
        return await _stored_picture(
            request, desk, stored.blob, "the result", Picture(wanted, stem, etag, stored.bytes)
        )
    conversion = Conversion(job_id=job_id, sha256=stored.sha256, format=wanted, quality=quality)
    data = await transcoder.convert(conversion, lambda: desk.images.read(stored.blob, "the result"), request.receive)
    return await picture_response(request, Picture(wanted, stem, etag, len(data)), reader_of(data))


@router.get(
    "/jobs/{job_id}/passes/{number}/image",
    response_class=Response,
    responses={
        **IMAGE_RESPONSES,
        **problem_responses(401, 404, 410, 416, 422, 503),
    },
    openapi_extra={"parameters": picture_headers()},
)
async def pass_image(
    job_id: JobId,
    number: Annotated[int, Path(ge=1, description="The number of the pass, from 1.")],
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
) -> Response:
    """Return the image after one pass of the loop."""
    record = await desk.find(job_id, caller)
    passes = record.outcome.passes
    blob = passes[number - 1].blob if number <= len(passes) else None
    if blob is None:
        raise NoSuchPass(f"job {job_id} has no image of pass {number}")
    etag = etag_of(blob)  # each attempt of a job writes blobs of other names
    if unchanged := not_modified(request, etag):
        return unchanged
    description = f"the image of pass {number}"
    size = await desk.images.size(blob, description)
    format = sniff_format(await desk.images.read_range(blob, description, 0, SIGNATURE_BYTES))
    check_accepted(request.headers.get("accept"), format)
    stem = f"{stem_of(record.spec.file_name, job_id)}-pass-{number}"
    return await _stored_picture(request, desk, blob, description, Picture(format, stem, etag, size))


async def _stored_picture(request: Request, desk: Desk, blob: str, description: str, picture: Picture) -> Response:
    """Return a picture from the store, or a redirect to it there."""
    if desk.store.signs and prefers_redirect(request.headers.getlist("prefer")):
        url = await desk.images.url(blob, description)
        return Response(status_code=303, headers={"Location": url, **REDIRECT_HEADERS})
    if is_head(request.scope):
        await desk.images.size(blob, description)
    return await picture_response(
        request, picture, lambda first, end: _read(desk, blob, description, (first, end), picture.size)
    )


async def _read(desk: Desk, blob: str, description: str, part: tuple[int, int], size: int) -> bytes:
    return await (
        desk.images.read(blob, description) if part == (0, size) else desk.images.read_range(blob, description, *part)
    )


def _stored_result(record: JobRecord, variant: int) -> Result:
    """Return where a result is stored.

    Raises:
        NotFinished, JobCanceled, JobFailed: the job has no result, as `check_succeeded`.
        Gone: the job was a detection, which has no image.
        NoSuchVariant: the job has fewer results.
    """
    check_succeeded(record)
    if record.outcome.result is None:
        raise Gone(f"job {record.spec.id} has no image: its kind is '{record.spec.kind}'")
    if variant == 1:
        return record.outcome.result
    if variant > len(record.outcome.variants):
        count = max(1, len(record.outcome.variants))
        raise NoSuchVariant(f"job {record.spec.id} has no variant {variant}, it has {count}")
    return record.outcome.variants[variant - 1].result
