"""`/jobs`: how jobs are, which there are, and their end."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from jobs.record import State
from service.authentication import Guarded
from service.job_view import JobBody, JobPage, job_body
from service.negotiation import MOST_WAIT_S
from service.routes.dependencies import AtDesk, JobId, prefix, problems

router = APIRouter(tags=["jobs"])


@router.get("/jobs", responses=problems(401, 422, 503))
async def jobs(
    request: Request,
    desk: AtDesk,
    caller: Guarded,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[int | None, Query(ge=0, description="`next` of the page before.")] = None,
) -> JobPage:
    """The jobs that this key may see, newest first."""
    records, following = await desk.page(caller, limit, cursor)
    bodies = [job_body(record, prefix=prefix(request)) for record in records]
    return JobPage(jobs=bodies, next=None if following is None else str(following))


@router.get("/jobs/{job_id}", responses=problems(401, 404, 410, 422, 429, 503))
async def job(
    job_id: JobId,
    request: Request,
    desk: AtDesk,
    caller: Guarded,
    wait: Annotated[float, Query(ge=0, le=MOST_WAIT_S, description="Answer when it is over, or after so long.")] = 0,
) -> JobBody:
    """How a job is."""
    record = await desk.find(job_id, caller)
    if wait and not record.state.over:
        record = (await desk.wait(record, wait)).record
    return await desk.body(record, prefix(request))


@router.delete(
    "/jobs/{job_id}",
    responses={
        200: {"model": JobBody, "description": "It was in line, and is canceled"},
        202: {"model": JobBody, "description": "It runs, and ends at its next step"},
        204: {"description": "It was over, and is forgotten with its pictures"},
        **problems(401, 404, 410, 422, 503),
    },
)
async def delete(job_id: JobId, request: Request, desk: AtDesk, caller: Guarded) -> Response:
    """Cancel a job; forget one that is over, with all its pictures."""
    before = await desk.end(await desk.find(job_id, caller))
    if before is None or before.over:
        return Response(status_code=204)
    body = await desk.body(await desk.find(job_id, caller), prefix(request))
    status = 200 if before is State.QUEUED else 202
    return Response(body.model_dump_json(), status_code=status, media_type="application/json")
