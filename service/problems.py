"""Refusals as RFC 9457 problems; one place turns every error of a request into one."""

import json
import math
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from jobs.errors import StoreError
from service.refusals import (
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RedisUnavailable,
    Refusal,
    StoreUnavailable,
)
from service.request_log import request_id

log = structlog.get_logger()
PROBLEM_TYPE = "application/problem+json"
RETRY_S = 2
"""Suggested while Redis or the store is away."""


class Problem(BaseModel):
    """RFC 9457.  `code` is stable; some problems have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str = ""
    request_id: str = ""


def problem_response(refusal: Refusal, request_id: str) -> Response:
    """A refusal as its answer."""
    problem = Problem(
        type=f"urn:undegrade:problem:{refusal.code}",
        title=refusal.status.phrase,
        status=refusal.status.value,
        code=refusal.code,
        detail=refusal.detail,
        hint=refusal.hint,
        request_id=request_id,
        **refusal.more,
    )
    return Response(
        json.dumps(problem.model_dump()),  # in ASCII: what is quoted may be half a surrogate pair
        status_code=refusal.status,
        headers=refusal.headers,
        media_type=PROBLEM_TYPE,
    )


def add_handlers(app: FastAPI) -> None:
    """Every error that a request may end in, but those nobody thought of: access.py answers them."""
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RedisError)(_redis_away)
    app.exception_handler(StoreError)(_store_away)


async def _refused(request: Request, error: Refusal) -> Response:
    return problem_response(error, request_id(request.scope))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    errors = [
        {"field": str(entry["loc"][-1]), "where": str(entry["loc"][0]), "problem": entry["msg"]}
        for entry in error.errors()
    ]
    sentence = f"{errors[0]['where']} {errors[0]['field']}: {errors[0]['problem']}"
    return await _refused(request, InvalidRequest(sentence, errors=errors))


async def _http(request: Request, error: HTTPException) -> Response:
    known = {404: NotFound, 405: MethodNotAllowed}.get(error.status_code, Refusal)
    refusal = known(f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)
    if known is Refusal:
        refusal.status = HTTPStatus(error.status_code)
    return await _refused(request, refusal)


async def _redis_away(request: Request, error: RedisError) -> Response:
    log.warning("redis.away", error=type(error).__name__, detail=str(error))
    refusal = RedisUnavailable("the job queue does not answer", headers=retry_after(RETRY_S))
    return await _refused(request, refusal)


async def _store_away(request: Request, error: StoreError) -> Response:
    log.warning("store.away", error=type(error).__name__, detail=str(error))
    refusal = StoreUnavailable("the blob store does not answer", headers=retry_after(RETRY_S))
    return await _refused(request, refusal)


def retry_after(seconds: float) -> dict[str, str]:
    """The header, in whole seconds, 1 to an hour."""
    return {"Retry-After": str(min(3600, max(1, math.ceil(seconds))))}
