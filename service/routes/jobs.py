"""`/jobs`: list, show, wait for, cancel and delete jobs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from jobs.job_list import read_cursor
from jobs.labels import MAX_LABELS
from jobs.state import State
from service.authentication import AuthenticatedCaller
from service.job_body import JobBody, JobPage
from service.job_filters import Label, Owner, PageCursor, Since, shown, wanted_jobs
from service.job_view import job_body
from service.negotiation import MAX_WAIT_S
from service.routes.dependencies import CurrentDesk, CurrentTranscoder, JobId, path_prefix, problem_responses

router = APIRouter(tags=["jobs"])


@router.get("/jobs", responses=problem_responses(401, 422, 503))
async def jobs(
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
    status: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
    label: Annotated[
        list[Label] | None, Query(max_length=MAX_LABELS, description="Only jobs with this label; several: with all.")
    ] = None,
    batch: Annotated[
        str | None, Query(pattern="^[0-9a-f]{32}$", description="Only jobs of this batch, by its id.")
    ] = None,
    since: Since = None,
    owner: Owner = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Maximum number of jobs in the response.")] = 50,
    cursor: PageCursor = None,
) -> JobPage:
    """List jobs, newest first: those of this key; with an admin key those of all, without their prompts.

    One call looks at a limited number of jobs. So a page may have fewer jobs than `limit`, even none, and still have a
    `next`: follow it until it is null.
    """
    wanted = wanted_jobs(caller, owner, status, label or (), since, batch)
    page = await desk.queue.listing.page(wanted, limit, read_cursor(cursor) if cursor else None)
    bodies = [job_body(shown(record, caller), path_prefix=path_prefix(request)) for record in page.records]
    return JobPage(jobs=bodies, next=str(page.next) if page.next else None, missing_shards=list(page.missing))


@router.get("/jobs/{job_id}", responses=problem_responses(401, 404, 410, 422, 429, 503))
async def job(
    job_id: JobId,
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for the end of the job.")
    ] = 0,
) -> JobBody:
    """Return one job."""
    record = await desk.find(job_id, caller)
    if wait and not record.state.over:
        record = (await desk.wait(record, wait, request.receive, caller.account)).record
    return await desk.body(record, path_prefix(request))


@router.delete(
    "/jobs/{job_id}",
    responses={
        200: {"model": JobBody, "description": "The job was queued and is canceled"},
        202: {"model": JobBody, "description": "The job is running and ends at its next step"},
        204: {"description": "The job was finished and is deleted with its images"},
        **problem_responses(401, 404, 410, 422, 503),
    },
)
async def delete(
    job_id: JobId, request: Request, desk: CurrentDesk, caller: AuthenticatedCaller, transcoder: CurrentTranscoder
) -> Response:
    """Cancel a job, or delete a finished job with all its images."""
    before = await desk.delete(await desk.find(job_id, caller))
    transcoder.forget(job_id)
    if before is None or before.over:
        return Response(status_code=204)
    body = await desk.body(await desk.find(job_id, caller), path_prefix(request))
    status = 200 if before is State.QUEUED else 202
    return Response(body.model_dump_json(), status_code=status, media_type="application/json")
