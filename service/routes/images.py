"""`GET /jobs/{id}/result` and `/jobs/{id}/passes/{n}/image`: the pictures themselves."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from jobs.record import JobRecord, Result
from jobs.spec import Format
from service.authentication import Guarded
from service.failed_jobs import check_succeeded
from service.image_header import MEDIA_TYPES, format_of
from service.negotiation import other_format
from service.refusals import Gone, NoSuchStep
from service.routes.dependencies import AtDesk, Documented, JobId, problems
from service.transcode import transcode

router = APIRouter(tags=["jobs"])
ENDINGS = {"jpeg": "jpg", "tiff": "tif"}
PICTURE: Documented = {
    200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}, "description": "The picture"}
}


def picture_response(data: bytes, name: str, kind: str, etag: str | None = None) -> Response:
    """A picture with its name, for a browser to show or save."""
    headers = {
        "Content-Disposition": f'inline; filename="{name}.{ENDINGS.get(kind, kind)}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept",
    }
    if etag:
        headers["ETag"] = etag
    return Response(data, media_type=f"image/{kind}", headers=headers)


@router.get(
    "/jobs/{job_id}/result",
    response_class=Response,
    responses={**PICTURE, 304: {"description": "Not modified"}, **problems(401, 404, 406, 409, 410, 422, 500, 503)},
)
async def result(
    job_id: JobId,
    request: Request,
    desk: AtDesk,
    caller: Guarded,
    format: Annotated[Format | None, Query(description="Another format than the stored one.")] = None,
    quality: Annotated[int | None, Query(ge=1, le=100, description="Of JPEG, WebP and AVIF.")] = None,
) -> Response:
    """The restored picture, as it was stored or in the format that `format` or `Accept` asks for."""
    record = await desk.find(job_id, caller)
    stored = _stored(record)
    own: Format = stored.format  # type: ignore[assignment]
    kind = format or other_format(request.headers.get("accept"), own)
    as_it_is = kind in (None, own) and quality is None
    etag = f'"{stored.sha256}"' if as_it_is else f'"{stored.sha256}-{kind or own}-{quality or ""}"'
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": etag, "Vary": "Accept"})
    data = await desk.blob(stored.blob, "the result")
    if not as_it_is:
        data = await asyncio.to_thread(transcode, data, kind or own, quality)
    return picture_response(data, job_id, kind or own, etag)


@router.get(
    "/jobs/{job_id}/passes/{number}/image",
    response_class=Response,
    responses={**PICTURE, **problems(401, 404, 410, 422, 503)},
)
async def step_image(
    job_id: JobId,
    number: Annotated[int, Path(ge=1, description="The pass, from 1.")],
    desk: AtDesk,
    caller: Guarded,
) -> Response:
    """The picture after one pass of the loop."""
    record = await desk.find(job_id, caller)
    passes = record.outcome.passes
    blob = passes[number - 1].blob if number <= len(passes) else None
    if blob is None:
        raise NoSuchStep(f"job {job_id} has no picture of pass {number}")
    data = await desk.blob(blob, f"the picture of pass {number}")
    return picture_response(data, f"{job_id}-{number}", format_of(data))


def _stored(record: JobRecord) -> Result:
    """Where the result is.

    Raises:
        NotFinished, JobCanceled, JobFailed, Gone: why there is none.
    """
    check_succeeded(record)
    if record.outcome.result is None:
        raise Gone(f"job {record.spec.id} has no picture: it was of the kind '{record.spec.kind}'")
    return record.outcome.result
