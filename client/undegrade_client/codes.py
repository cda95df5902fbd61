"""From the codes of the service to the exceptions of the client.

Two lists, because a code of a refusal and of a failed job may be the same word.  A code that is not listed, of a later
server, maps by its status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undegrade_client import errors as e

REFUSALS: Mapping[str, type[e.ApiError]] = {
    "unauthorized": e.AuthenticationError,
    "key-expired": e.AuthenticationError,
    "forbidden": e.PermissionDenied,
    "image-url-off": e.PermissionDenied,
    "cross-origin": e.PermissionDenied,
    "unknown-host": e.PermissionDenied,
    "refused": e.InvalidRequest,
    "malformed-request": e.InvalidRequest,
    "uri-too-long": e.InvalidRequest,
    "headers-too-large": e.InvalidRequest,
    "method-not-allowed": e.InvalidRequest,
    "not-acceptable": e.InvalidRequest,
    "unsupported-body": e.InvalidRequest,
    "unsupported-encoding": e.InvalidRequest,
    "range-not-satisfiable": e.InvalidRequest,
    "uploads-unavailable": e.InvalidRequest,
    "upload-not-received": e.InvalidRequest,
    "webhook-disabled": e.InvalidRequest,
    "url-not-allowed": e.InvalidRequest,
    "url-refused": e.InvalidRequest,
    "url-unreachable": e.InvalidImage,
    "url-too-slow": e.InvalidImage,
    "url-redirects": e.InvalidImage,
    "url-bad-answer": e.InvalidImage,
    "url-too-large": e.ImageTooLarge,
    "invalid-request": e.InvalidRequest,
    "prompt-not-understood": e.PromptNotUnderstood,
    "bad-idempotency-key": e.InvalidRequest,
    "idempotency-key-reused": e.IdempotencyConflict,
    "not-an-image": e.InvalidImage,
    "unsupported-format": e.InvalidImage,
    "too-large": e.ImageTooLarge,
    "too-many-pixels": e.ImageTooLarge,
    "batch-too-large": e.InvalidRequest,
    "not-found": e.NotFound,
    "no-such-job": e.NotFound,
    "no-such-step": e.NotFound,
    "no-such-worker": e.NotFound,
    "no-such-lane": e.NotFound,
    "no-such-shard": e.NotFound,
    "no-such-upload": e.NotFound,
    "no-such-variant": e.NotFound,
    "no-such-batch": e.NotFound,
    "no-such-delivery": e.NotFound,
    "not-finished": e.NotFinished,
    "delivery-held": e.NotFinished,
    "canceled": e.Canceled,
    "gone": e.Expired,
    "too-many-waits": e.QuotaError,
    "rate-limited": e.QuotaError,
    "quota-jobs": e.QuotaError,
    "quota-megapixels": e.QuotaError,
    "internal": e.ServerError,
    "request-timeout": e.ServerUnavailable,
    "queue-full": e.ServerUnavailable,
    "newer-job": e.ServerUnavailable,
    "redis-unavailable": e.ServerUnavailable,
    "store-unavailable": e.ServerUnavailable,
    "storage-full": e.ServerUnavailable,
    "too-many-conversions": e.ServerUnavailable,
    "conversion-failed": e.ServerUnavailable,
    "wait-over": e.ServerUnavailable,
    "job-failed": e.JobFailed,
}
"""The codes of problems (service/refusals.py)."""

JOB_FAILURES: Mapping[str, type[e.ApiError]] = {
    "bad-image": e.DamagedImage,
    "decode-timeout": e.DamagedImage,
    "bad-controls": e.UnsuitableOptions,
    "prompt-not-understood": e.UnsuitableOptions,
    "encode": e.UnsuitableOptions,
    "input-missing": e.JobExpired,
    "deadline": e.JobExpired,
    "purged": e.Canceled,
    "spec-version": e.JobUnserved,
    "store-unavailable": e.JobUnserved,
    "storage-full": e.JobUnserved,
    "time-limit": e.JobFailed,
    "out-of-memory": e.JobFailed,
    "poison-suspected": e.JobFailed,
    "provenance": e.JobFailed,
    "not-finite": e.JobFailed,
    "engine-error": e.JobFailed,
    "no-such-bundle": e.JobFailed,
    "internal-error": e.JobFailed,
    "refused": e.JobFailed,
}
"""The codes of a failed job's `error`."""

BY_STATUS: Mapping[int, type[e.ApiError]] = {
    401: e.AuthenticationError, 403: e.PermissionDenied, 404: e.NotFound, 408: e.ServerUnavailable, 410: e.Expired,
    413: e.ImageTooLarge, 429: e.QuotaError, 502: e.ServerUnavailable, 503: e.ServerUnavailable,
    504: e.ServerUnavailable, 507: e.ServerUnavailable,
}  # fmt: skip
"""For unknown codes, and for proxies, whose answers have none."""


def refusal(status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> e.ApiError:
    """Return the exception for an answer of the server that is an error."""
    code, job_error = str(problem.get("code") or f"http-{status}"), problem.get("error")
    kind = REFUSALS.get(code) or BY_STATUS.get(status) or (e.ServerError if status >= 500 else e.InvalidRequest)
    if code == "job-failed" and isinstance(job_error, Mapping):
        code = str(job_error.get("code") or code)
        kind = JOB_FAILURES.get(code, e.JobFailed)
    return kind(
        str(problem.get("detail") or f"the server answered {status}"),
        code=code,
        status=status,
        hint=str(problem.get("hint") or ""),
        request_id=str(problem.get("request_id") or ""),
        job_id=problem.get("job_id"),
        retry_after_s=retry_after_s,
        problem=problem,
    )


def job_failure(job_id: str, status: str, error: Mapping[str, Any] | None) -> e.ApiError:
    """Return the exception for a job that ended without success; `status` is failed, canceled or expired."""
    error = error or {}
    usual = {"canceled": "canceled", "expired": "deadline"}.get(status, "job-failed")
    code = str(error.get("code") or usual)
    kind = e.Canceled if status == "canceled" else JOB_FAILURES.get(code, e.JobFailed)
    detail = str(error.get("detail") or f"the job {'failed' if status == 'failed' else 'was ' + status}")
    return kind(detail, code=code, hint=str(error.get("hint") or ""), job_id=job_id, problem={"error": dict(error)})
