"""`POST /restore` and `POST /detect`: accept an image and queue a job."""

from dataclasses import dataclass, replace

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from jobs.record import JobRecord
from jobs.spec import Format, Kind
from jobs.tracing.spans import child_span
from service.authentication import AuthenticatedCaller, Caller
from service.busy_refusals import WaitOver
from service.desk import Desk, WaitedJob
from service.failed_jobs import check_succeeded
from service.idempotency.attempt import Attempt, CurrentAttempt
from service.image_fetch import ImageFetch
from service.image_header import MEDIA_TYPES
from service.job_body import DetectBody, JobBody
from service.job_view import detect_body, job_url
from service.known_degradations import check_degradations
from service.negotiation import (
    MAX_WAIT_S,
    WaitPreference,
    output_format,
    prefers_image,
    prefers_redirect,
    wait_preference,
)
from service.openapi import BINARY, upload_docs
from service.output_size import check_output
from service.picture import REDIRECT_HEADERS, Picture, stem_of
from service.refusals import Gone
from service.request_body import content_length
from service.routes.dependencies import CurrentDesk, CurrentImages, path_prefix, problem_responses
from service.unstored import check_unstored, ending_in, leaving_nothing
from service.upload import Parcel, Upload, read_parcel
from service.webhooks.acceptance import accepted_hooks

router = APIRouter(tags=["restore"])
DETECT_WAIT_S = 30
"""The default wait of `POST /detect`."""
REFUSALS = problem_responses(401, 403, 404, 406, 409, 410, 413, 415, 422, 424, 429, 500, 503, 504, 507)


@router.post(
    "/restore",
    status_code=202,
    openapi_extra=upload_docs("restore"),
    responses={
        200: {
            "model": JobBody,
            "description": "The finished job (Prefer: wait) or its image (Accept: image/*)",
            "content": {media_type: {"schema": BINARY} for media_type in MEDIA_TYPES.values()},
        },
        202: {"model": JobBody, "description": "The queued job; Location is its URL"},
        303: {"description": "Accept: image/* and Prefer: redirect; Location is the image in the store"},
        **REFUSALS,
    },
)
async def restore(
    request: Request, desk: CurrentDesk, images: CurrentImages, caller: AuthenticatedCaller, attempt: CurrentAttempt
) -> Response:
    """Restore one image.

    By default the response is 202 with the job, at once.  With `Prefer: wait=N` (1 to 60) it is 200 with the job if
    the job ends within N seconds.  With `Accept: image/*` it is the restored image, or a problem that contains the
    job's URL if the job does not end in time.  With `Prefer: redirect` as well, it is 303 with the URL of the image in
    the store, where the store is S3.
    """
    accept = request.headers.get("accept")
    as_image = prefers_image(accept)
    preference = wait_preference(request.headers.getlist("prefer"), MAX_WAIT_S if as_image else 0)
    order = _Order(request, desk, images, caller, attempt, preference)
    job = await order.job("restore", accept if as_image else None)
    async with leaving_nothing(desk, job.record):
        if as_image:
            wants_url = desk.store.signs and prefers_redirect(request.headers.getlist("prefer"))
            return await _job_image(desk, job, preference, path_prefix(request), wants_url)
    body = await desk.body(job.record, path_prefix(request))
    return _job_response(body, job.record, preference, path_prefix(request))


@router.post(
    "/detect",
    openapi_extra=upload_docs("detect"),
    responses={
        200: {"model": DetectBody, "description": "The degradations of the image"},
        202: {"model": JobBody, "description": "The unfinished job; Location is its URL"},
        **REFUSALS,
    },
)
async def detect(
    request: Request, desk: CurrentDesk, images: CurrentImages, caller: AuthenticatedCaller, attempt: CurrentAttempt
) -> Response:
    """Detect the degradations of one image without changing it.  Waits up to 30 s unless `Prefer` says otherwise."""
    preference = wait_preference(request.headers.getlist("prefer"), DETECT_WAIT_S)
    record = (await _Order(request, desk, images, caller, attempt, preference).job("detect")).record
    async with leaving_nothing(desk, record):
        if not record.state.over:
            body = await desk.body(record, path_prefix(request))
            return _job_response(body, record, preference, path_prefix(request))
        check_succeeded(record)
        return _job_response(detect_body(record), record, preference, path_prefix(request))


@dataclass(frozen=True)
class _Order:
    """One request for a job."""

    request: Request
    desk: Desk
    images: ImageFetch
    caller: Caller
    attempt: Attempt
    preference: WaitPreference

    async def job(self, kind: Kind, accept: str | None = None) -> WaitedJob:
        """Return the job of the request: that of an earlier attempt, or a new one.

        `accept`: of a client that wants the image itself, whose format it negotiates.
        """
        parcel = await self._receive(kind)
        wait_s, receive = self.preference.wait_s, self.request.receive
        if not parcel.options.store:
            check_unstored(parcel, wait_s, as_image=accept is not None)
            self.attempt.forget()
        content = parcel.header.sha256 if parcel.header else ""
        if made := await self.attempt.repeats({**parcel.fields, **_accepted(parcel, accept)}, content):
            return await self.desk.replay(made, self.caller, wait_s, receive)
        await check_degradations(self.desk.queue, parcel.options.bundle or self.desk.settings.bundle, parcel.options)
        desk, prefix = self.desk, path_prefix(self.request)
        hooks = await accepted_hooks(parcel.options.hooks, desk.settings, desk.queue.keys, self.caller.owner, prefix)
        upload = replace(await self.images.opened(parcel, self.caller), hooks=hooks)
        await check_output(upload.data, upload.header, upload.options.controls, desk.settings.max_megapixels)
        if accept is not None:
            upload = _with_format(upload, output_format(accept, upload.header.format, upload.options.output.format))
        return await self.desk.submit(ending_in(upload, wait_s), self.caller, wait_s, receive, self.attempt)

    async def _receive(self, kind: Kind) -> Parcel:
        """Read the body, unless the service would refuse the job anyway."""
        if not await self.attempt.may_repeat():
            await self.desk.refuse_early(self.caller, self.preference.wait_s, content_length(self.request))
        with child_span("read upload"):
            return await read_parcel(self.request, kind, self.desk.settings)


def _accepted(parcel: Parcel, accept: str | None) -> dict[str, str | None]:
    """Return what a client that wants the image itself adds to its request: the format, where it is not as usual."""
    if accept is None:
        return {}
    if parcel.header is None:
        return {"accept": accept}
    return {"format": output_format(accept, parcel.header.format, parcel.options.output.format)}


def _with_format(upload: Upload, format: Format | None) -> Upload:
    output = upload.options.output.model_copy(update={"format": format})
    return replace(upload, options=replace(upload.options, output=output))


def _job_response(body: BaseModel, record: JobRecord, preference: WaitPreference, prefix: str) -> Response:
    """Return 200 for a finished job, else 202; Location is the job's URL."""
    return Response(
        body.model_dump_json(),
        status_code=200 if record.state.over else 202,
        headers={"Location": job_url(record.spec.id, prefix), **preference.headers},
        media_type="application/json",
    )


async def _job_image(desk: Desk, job: WaitedJob, preference: WaitPreference, prefix: str, wants_url: bool) -> Response:
    """Return the image, or a redirect to it in the store if the client wants that, or raise a problem.

    It never returns JSON with a 2xx status, because `curl -f -o` would save that as an image.
    """
    record = job.record
    url = job_url(record.spec.id, prefix)
    if not record.state.over:
        raise WaitOver(
            f"the image was not ready after {preference.wait_s:g} s",
            headers={"Location": url, "Retry-After": "5", "X-Job-Id": record.spec.id},
            job_id=record.spec.id,
            job_url=url,
            result_url=f"{url}/result",
        )
    check_succeeded(record)
    result = record.outcome.result
    if result is None:
        raise Gone("the job ended without an image", job_id=record.spec.id)
    if wants_url and record.spec.store:
        stored_url = await desk.images.url(result.blob, "the result")
        applied = ", ".join(filter(None, (preference.applied, REDIRECT_HEADERS["Preference-Applied"])))
        headers = {
            **_summary_headers(record),
            **REDIRECT_HEADERS,
            "Location": stored_url,
            "Preference-Applied": applied,
        }
        return Response(status_code=303, headers=headers)
    data = job.image or await desk.images.read(result.blob, "the result")
    picture = Picture(result.format, stem_of(record.spec.file_name, record.spec.id), f'"{result.sha256}"', len(data))
    headers = {**picture.headers, **_summary_headers(record), **preference.headers}
    del headers["Accept-Ranges"]  # the answer to POST; the image at Content-Location has ranges
    headers["Content-Location"] = f"{url}/result"
    return Response(data, headers=headers, media_type=f"image/{result.format}")


def _summary_headers(record: JobRecord) -> dict[str, str]:
    outcome, degradations = record.outcome, record.outcome.degradations
    change = outcome.change
    return {
        "X-Job-Id": record.spec.id,
        "X-Seed": str(record.spec.controls.seed),
        "X-Degradations": ", ".join(f"{name}={probability:.3f}" for name, probability in degradations.items()),
        **({"X-Warnings": ", ".join(dict.fromkeys(outcome.warning_codes))} if outcome.warning_codes else {}),
        **(
            {"X-Change": f"mean={change.mean_levels:.2f}, max={change.max_levels:.1f}, share={change.share:.4f}"}
            if change
            else {}
        ),
    }
