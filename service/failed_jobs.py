"""Maps a job that did not succeed to the refusal for a caller who asks for its image."""

from http import HTTPStatus

from jobs.record import JobRecord
from jobs.state import State
from service.refusals import JobCanceled, JobFailed, NotFinished

STATUSES = {
    "bad-image": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad-controls": HTTPStatus.UNPROCESSABLE_ENTITY,
    "prompt-not-understood": HTTPStatus.UNPROCESSABLE_ENTITY,
    "encode": HTTPStatus.UNPROCESSABLE_ENTITY,
    "decode-timeout": HTTPStatus.UNPROCESSABLE_ENTITY,
    "input-missing": HTTPStatus.GONE,
    "deadline": HTTPStatus.GATEWAY_TIMEOUT,
    "storage-full": HTTPStatus.INSUFFICIENT_STORAGE,
    "time-limit": HTTPStatus.GATEWAY_TIMEOUT,
    "store-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "spec-version": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""By the failure's code; every other code means a server error, 500."""


def check_succeeded(record: JobRecord) -> None:
    """Accept a job that succeeded.

    Raises:
        NotFinished: the job is queued or running.
        JobCanceled, JobFailed: the job ended without success; the problem contains the job's own error.
    """
    job_id = record.spec.id
    headers = {"X-Job-Id": job_id}
    if not record.state.over:
        raise NotFinished(f"job {job_id} is {record.state}", headers={"Retry-After": "2", **headers})
    if record.state is State.CANCELED:
        raise _job_canceled(record, headers)
    if record.state is not State.SUCCEEDED:
        raise _job_failed(record, headers)


def _job_canceled(record: JobRecord, headers: dict[str, str]) -> JobCanceled:
    """Return the refusal; it has the reason where an operator has canceled the job."""
    failure, job_id = record.outcome.failure, record.spec.id
    if failure is None:
        return JobCanceled(f"job {job_id} was canceled", headers=headers, job_id=job_id)
    detail = f"job {job_id} was canceled: {failure.detail}"
    return JobCanceled(detail, hint=failure.hint, headers=headers, job_id=job_id, error=failure.model_dump())


def _job_failed(record: JobRecord, headers: dict[str, str]) -> JobFailed:
    failure, job_id = record.outcome.failure, record.spec.id
    if failure is None:
        return JobFailed(f"job {job_id} {record.state}", headers=headers, job_id=job_id, error=None)
    refusal = JobFailed(failure.detail, hint=failure.hint, headers=headers, job_id=job_id, error=failure.model_dump())
    refusal.status = STATUSES.get(failure.code, JobFailed.status)
    return refusal
