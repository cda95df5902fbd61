"""`POST /jobs/{id}/retry`: another try of a job that failed."""

from fastapi import APIRouter, Request, Response

from service.authentication import AuthenticatedCaller
from service.idempotency.attempt import CurrentAttempt
from service.job_body import JobBody
from service.job_view import job_url
from service.query import check_query
from service.retry import retried
from service.routes.dependencies import CurrentDesk, JobId, path_prefix, problem_responses

router = APIRouter(tags=["jobs"])


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    responses={
        202: {"model": JobBody, "description": "The new job; Location is its URL"},
        **problem_responses(401, 404, 409, 410, 422, 503, 507),
    },
)
async def retry(
    job_id: JobId, request: Request, desk: CurrentDesk, caller: AuthenticatedCaller, attempt: CurrentAttempt
) -> Response:
    """Queue a new job with the input and the options of a job that failed.

    Its input is kept as long as the job.  That of any other job is not: send the image again.
    """
    check_query(request, has_upload=False)
    record = await retried(desk, await desk.find(job_id, caller), caller, attempt)
    prefix = path_prefix(request)
    body = await desk.body(record, prefix)
    return Response(
        body.model_dump_json(), status_code=202, headers={"Location": job_url(record.spec.id, prefix)},
        media_type="application/json",
    )  # fmt: skip
