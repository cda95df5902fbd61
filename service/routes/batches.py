"""`/batches`: many images with one set of options."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from jobs.batches import Batch
from jobs.job_list import read_cursor
from service.authentication import AuthenticatedCaller, Caller
from service.batches.archive import ResultArchive
from service.batches.body import read_batch
from service.batches.docs import batch_docs
from service.batches.event_stream import event_stream
from service.batches.intake import Intake
from service.batches.refusals import NoSuchBatch
from service.batches.view import BatchBody, BatchList, batch_body, batch_summary, batch_url
from service.batches.watch import find_batch
from service.desk import Desk
from service.held_stream import LastEventId, event_docs, held_stream
from service.idempotency.attempt import CurrentAttempt
from service.job_filters import Owner, PageCursor, Since, listed_owner, milliseconds
from service.openapi import BINARY
from service.refusals import Gone
from service.request_body import check_encoding, content_length
from service.routes.dependencies import CurrentDesk, CurrentImages, path_prefix, problem_responses

router = APIRouter(tags=["batches"])
BatchId = Annotated[
    str,
    Path(
        max_length=64,
        description="The batch's id: 32 hex digits.",
        json_schema_extra={"pattern": "^[0-9a-f]{32}$"},  # only documented: another id is 404, as is an unknown one
    ),
]


@router.post(
    "/batches",
    status_code=202,
    openapi_extra=batch_docs(),
    responses={
        202: {"model": BatchBody, "description": "The batch; Location is its URL"},
        **problem_responses(401, 410, 413, 415, 422, 503, 507),
    },
)
async def create_batch(
    request: Request, desk: CurrentDesk, images: CurrentImages, caller: AuthenticatedCaller, attempt: CurrentAttempt
) -> Response:
    """Restore many images with one set of options.

    Each image becomes a job of its own, by default in the lane `bulk`. One that is refused does not refuse the others:
    the batch says why. In a form, the fields come before the files.
    """
    check_encoding(request)
    repeated = await attempt.may_repeat()
    if not repeated:
        await desk.refuse_early(caller, 0, content_length(request))
    intake = Intake(request, desk, images, caller, attempt, repeated)
    async with intake.held_open():
        await read_batch(request, intake, desk.settings)
        batch_id = await intake.finish()
    prefix = path_prefix(request)
    body = batch_body(await _made(desk, batch_id, caller), prefix)
    return Response(
        body.model_dump_json(), status_code=202, headers={"Location": batch_url(batch_id, prefix)},
        media_type="application/json",
    )  # fmt: skip


async def _made(desk: Desk, batch_id: str, caller: Caller) -> Batch:
    """Return the batch that this request or an earlier one with its key has made.

    Raises:
        Gone: it was deleted, or has expired.
    """
    try:
        return await find_batch(desk, batch_id, caller)
    except NoSuchBatch as error:
        hint = "send the images with a new Idempotency-Key"
        raise Gone(f"batch {batch_id}, which this request made before, was deleted", hint=hint) from error


@router.get("/batches", responses=problem_responses(401, 422, 503))
async def batches(
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
    since: Since = None,
    owner: Owner = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of batches in the response.")] = 20,
    cursor: PageCursor = None,
) -> BatchList:
    """List batches without their images, newest first: those of this key; with an admin key those of all.

    A page may have fewer batches than `limit` and still have a `next`: follow it until it is null.
    """
    after = read_cursor(cursor) if cursor else None
    page = await desk.queue.batches.page(listed_owner(caller, owner), limit, milliseconds(since), after)
    bodies = [batch_summary(found, path_prefix(request)) for found in page.batches]
    following = str(page.next) if page.next else None
    return BatchList(batches=bodies, next=following, missing_shards=list(page.missing))


@router.get("/batches/{batch_id}", responses=problem_responses(401, 404, 410, 422, 503))
async def batch(batch_id: BatchId, request: Request, desk: CurrentDesk, caller: AuthenticatedCaller) -> BatchBody:
    """Return a batch with its images."""
    return batch_body(await find_batch(desk, batch_id, caller), path_prefix(request))


@router.get(
    "/batches/{batch_id}/events",
    response_class=Response,
    responses={
        200: event_docs("the end of the batch"),
        **problem_responses(401, 404, 410, 422, 429, 503),
    },
)
async def batch_events(
    batch_id: BatchId,
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
    last_event_id: LastEventId = "0-0",
) -> Response:
    """Stream an event for each image that has ended or ends, then `completed`."""
    found = await find_batch(desk, batch_id, caller)
    return await held_stream(desk, caller, event_stream(desk, found, last_event_id, path_prefix(request)))


@router.get(
    "/batches/{batch_id}/results.zip",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {"schema": BINARY}}, "description": "The results"},
        **problem_responses(401, 404, 410, 422, 429, 503),
    },
)
async def batch_results(
    batch_id: BatchId,
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
    order: Annotated[
        Literal["ended", "request"], Query(description="The order of the files: as they end, or that of the request.")
    ] = "ended",
    partial: Annotated[
        bool, Query(description="Do not wait for the images that have not ended; errors.json names them.")
    ] = False,
) -> Response:
    """Stream a zip file with the results under the names of the caller's files, as they come.

    Of a job with several variants, it has all: `beach-1.jpg`, `beach-2.jpg`, ...

    The last file, `errors.json`, says of the other images why they have no result; it is missing where there are none.
    """
    found = await find_batch(desk, batch_id, caller)
    stream = ResultArchive(desk, path_prefix(request)).stream(found, order == "request", not partial)
    headers = {"Content-Disposition": f'attachment; filename="batch-{found.id}.zip"'}
    return await held_stream(desk, caller, stream, "application/zip", headers)


@router.delete(
    "/batches/{batch_id}",
    responses={
        200: {"model": BatchBody, "description": "Its jobs are canceled; those that run end at their next step"},
        204: {"description": "All had ended: the batch is deleted with its jobs and images"},
        **problem_responses(401, 404, 410, 422, 503),
    },
)
async def delete_batch(batch_id: BatchId, request: Request, desk: CurrentDesk, caller: AuthenticatedCaller) -> Response:
    """Cancel the jobs that have not ended; if all have ended, delete the batch with its jobs and images."""
    found = await find_batch(desk, batch_id, caller)
    to_end = [item.entry.job for item in found.items if item.entry.job and (found.over or item.ended_ms is None)]
    for job_id in to_end:
        if record := await desk.queue.record(job_id):
            await desk.delete(record)
    if found.over:
        await desk.queue.batches.forget(found.id)
        return Response(status_code=204)
    body = batch_body(await find_batch(desk, batch_id, caller), path_prefix(request))
    return Response(body.model_dump_json(), media_type="application/json")
