"""`POST /restore` and `POST /detect`: take an image in."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from jobs.record import JobRecord
from jobs.spec import Format
from service.authentication import Guarded
from service.desk import Desk, Waited
from service.failed_jobs import check_succeeded
from service.job_view import DetectBody, JobBody, found, job_url
from service.negotiation import MOST_WAIT_S, Preference, other_format, preference, wants_picture
from service.openapi import request_docs
from service.options import DetectOrder, RestoreOrder
from service.refusals import Gone, NotAcceptable, WaitOver
from service.routes.dependencies import AtDesk, prefix, problems
from service.routes.images import picture_response
from service.upload import announced_bytes, read_upload

router = APIRouter(tags=["restore"])
DETECT_WAIT_S = 30
REFUSED = problems(401, 406, 409, 410, 413, 415, 422, 429, 500, 503, 504)


@router.post(
    "/restore",
    status_code=202,
    openapi_extra=request_docs(RestoreOrder),
    responses={
        200: {"model": JobBody, "description": "The finished job (Prefer: wait) or its picture (Accept: image/*)"},
        202: {"model": JobBody, "description": "In line; Location is where to ask"},
        **REFUSED,
    },
)
async def restore(request: Request, desk: AtDesk, caller: Guarded) -> Response:
    """Restore one image.

    Answers 202 with the job at once; with `Prefer: wait=N` (1 to 60) 200 with the job if it is over in time; with
    `Accept: image/*` the picture itself, or a problem that names the job when the wait is over first.
    """
    accept = request.headers.get("accept")
    picture = wants_picture(accept)
    preferred = preference(request.headers.getlist("prefer"), MOST_WAIT_S if picture else 0)
    await desk.refuse_early(caller, preferred.wait_s, announced_bytes(request))
    data, order = await read_upload(request, RestoreOrder, desk.settings.most_bytes)
    seen = await desk.look(data)
    if picture:
        order = _pictured(order, accept, order.format or seen.format)
    record = await desk.submit("restore", data, seen, order, caller, preferred.wait_s > 0)
    waited = await desk.settle(record, preferred.wait_s)
    if picture:
        return await _picture(desk, waited, preferred, prefix(request))
    body = await desk.body(waited.record, prefix(request))
    return _answer(body, waited.record, preferred, prefix(request))


@router.post(
    "/detect",
    openapi_extra=request_docs(DetectOrder),
    responses={
        200: {"model": DetectBody, "description": "What is wrong with the image"},
        202: {"model": JobBody, "description": "Not ready in time; Location is where to ask"},
        **REFUSED,
    },
)
async def detect(request: Request, desk: AtDesk, caller: Guarded) -> Response:
    """Say what is wrong with one image, and change nothing.  Waits up to 30 s unless `Prefer` says otherwise."""
    preferred = preference(request.headers.getlist("prefer"), DETECT_WAIT_S)
    await desk.refuse_early(caller, preferred.wait_s, announced_bytes(request))
    data, order = await read_upload(request, DetectOrder, desk.settings.most_bytes)
    seen = await desk.look(data)
    record = await desk.submit("detect", data, seen, order, caller, preferred.wait_s > 0)
    record = (await desk.settle(record, preferred.wait_s)).record
    if not record.state.over:
        return _answer(await desk.body(record, prefix(request)), record, preferred, prefix(request))
    check_succeeded(record)
    outcome = record.outcome
    body = DetectBody(id=record.spec.id, degradations=found(outcome.degradations), seconds=outcome.seconds)
    return _answer(body, record, preferred, prefix(request))


def _answer(body: BaseModel, record: JobRecord, preferred: Preference, before: str) -> Response:
    """200 for a job that is over, else 202 and where to ask."""
    return Response(
        body.model_dump_json(),
        status_code=200 if record.state.over else 202,
        headers={"Location": job_url(record.spec.id, before), **preferred.headers},
        media_type="application/json",
    )


def _pictured(order: RestoreOrder, accept: str | None, own: Format) -> RestoreOrder:
    """The order, with the format that Accept leaves."""
    asked = other_format(accept, own)
    if asked and order.format:
        raise NotAcceptable(f"format={order.format} is asked for, and Accept: {accept}")
    return order.model_copy(update={"format": asked}) if asked else order


async def _picture(desk: Desk, waited: Waited, preferred: Preference, before: str) -> Response:
    """The picture or a problem, never JSON with a good status: `curl -f -o` must not save it as a picture."""
    record = waited.record
    url = job_url(record.spec.id, before)
    if not record.state.over:
        raise WaitOver(
            f"the picture was not ready after {preferred.wait_s:g} s",
            headers={"Location": url, "Retry-After": "5", "X-Job-Id": record.spec.id},
            job_id=record.spec.id,
            job_url=url,
            result_url=f"{url}/result",
        )
    check_succeeded(record)
    result = record.outcome.result
    if result is None:
        raise Gone("the job ended without a picture", job_id=record.spec.id)
    data = waited.picture or await desk.blob(result.blob, "the result")
    response = picture_response(data, record.spec.id, result.format)
    response.headers.update({**_told(record), **preferred.headers, "Content-Location": f"{url}/result"})
    return response


def _told(record: JobRecord) -> dict[str, str]:
    """What came of it, in headers."""
    outcome = record.outcome
    found_there = ", ".join(f"{name}={probability:.3f}" for name, probability in outcome.degradations.items())
    return {
        "X-Job-Id": record.spec.id,
        "X-Seed": str(record.spec.controls.seed),
        "X-Degradations": found_there,
    }
