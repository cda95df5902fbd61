"""`GET /jobs/{id}/result` and `/jobs/{id}/passes/{n}/image`: the restored image and the image after each pass."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from jobs.record import JobRecord, Result
from jobs.spec import Format
from models.controls import MAX_VARIANTS
from service.authentication import AuthenticatedCaller
from service.conditional import etag_of, has_current
from service.failed_jobs import check_succeeded
from service.image_header import MEDIA_TYPES, sniff_format
from service.negotiation import format_to_convert_to
from service.openapi import BINARY
from service.refusals import Gone, NoSuchPass, NoSuchVariant
from service.routes.dependencies import CurrentDesk, CurrentTranscoder, JobId, OpenAPIResponses, problem_responses
from service.transcode import Conversion

router = APIRouter(tags=["jobs"])
FILE_ENDINGS = {"jpeg": "jpg", "tiff": "tif"}
IMAGE_RESPONSE: OpenAPIResponses = {
    200: {
        "content": {media_type: {"schema": BINARY} for media_type in MEDIA_TYPES.values()},
        "description": "The image",
    }
}


def image_response(data: bytes, name: str, format: str, etag: str) -> Response:
    """Return an image with a file name, so that a browser can show or save it."""
    headers = {
        "Content-Disposition": f'inline; filename="{name}.{FILE_ENDINGS.get(format, format)}"',
        "ETag": etag,
        "Vary": "Accept",
    }
    return Response(data, media_type=f"image/{format}", headers=headers)


@router.get(
    "/jobs/{job_id}/result",
    response_class=Response,
    responses={
        **IMAGE_RESPONSE,
        304: {"description": "Not modified"},
        **problem_responses(401, 404, 406, 409, 410, 422, 500, 503, 504, 507),
    },
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
    if has_current(request.headers.getlist("if-none-match"), etag):
        return _not_modified(etag)
    if as_stored:
        data = await desk.blob(stored.blob, "the result")
    else:
        conversion = Conversion(job_id=job_id, sha256=stored.sha256, format=wanted, quality=quality)
        data = await transcoder.convert(conversion, lambda: desk.blob(stored.blob, "the result"), request.receive)
    return image_response(data, job_id, wanted, etag)


@router.get(
    "/jobs/{job_id}/passes/{number}/image",
    response_class=Response,
    responses={
        **IMAGE_RESPONSE,
        304: {"description": "Not modified"},
        **problem_responses(401, 404, 410, 422, 503),
    },
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
    if has_current(request.headers.getlist("if-none-match"), etag):
        return _not_modified(etag)
    data = await desk.blob(blob, f"the image of pass {number}")
    return image_response(data, f"{job_id}-{number}", sniff_format(data), etag)


def _not_modified(etag: str) -> Response:
    return Response(status_code=304, headers={"ETag": etag, "Vary": "Accept"})


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
