"""Turns every error of a request into an RFC 9457 problem."""

import json
import math
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from jobs.errors import NewerSpec, ShardAway, StoreError, StoreFull, UnknownShard, full_redis
from service.busy_refusals import NewerJob, RedisUnavailable, StorageFull, StoreUnavailable
from service.proxies import path_prefix
from service.refusals import InvalidRequest, MethodNotAllowed, NoSuchShard, NotFound, Refusal
from service.request_log import request_id

log = structlog.get_logger()
PROBLEM_TYPE = "application/problem+json"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
UNAVAILABLE_RETRY_S = 2
"""Retry-After while Redis or the store is away."""
FULL_RETRY_S = 30
"""Retry-After while there is no room for another image."""


class Problem(BaseModel):
    """An RFC 9457 problem.  `code` is stable; some problems have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str = ""
    request_id: str = ""


def problem_of(refusal: Refusal, request_id: str, prefix: str = "") -> Problem:
    """Return the problem that describes a refusal.  Its `type` is a page of the service (problem_pages.py)."""
    return Problem(
        type=f"{prefix}/problems/{refusal.code}",
        title=refusal.status.phrase,
        status=refusal.status.value,
        code=refusal.code,
        detail=refusal.detail,
        hint=refusal.hint,
        request_id=request_id,
        **refusal.extra,
    )


def problem_response(refusal: Refusal, request_id: str, prefix: str = "") -> Response:
    """Return the response for a refusal; `prefix` is the path under which a proxy exposes the service."""
    problem = problem_of(refusal, request_id, prefix)
    return Response(
        json.dumps(problem.model_dump()),  # as ASCII: input may contain half a surrogate pair
        status_code=refusal.status,
        headers=refusal.headers,
        media_type=PROBLEM_TYPE,
    )


def add_handlers(app: FastAPI) -> None:
    """Handle every expected error of a request; request_log.py answers unexpected errors."""
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RedisError)(_redis_away)
    app.exception_handler(StoreError)(_store_away)
    app.exception_handler(StoreFull)(_store_full)
    app.exception_handler(NewerSpec)(_newer_job)
    app.exception_handler(UnknownShard)(_unknown_shard)


async def _refused(request: Request, error: Refusal) -> Response:
    return refused(request.scope, error)


def refused(scope: Scope, refusal: Refusal) -> Response:
    """Return the response for the refusal of a request."""
    return problem_response(refusal, request_id(scope), path_prefix(scope))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    errors = [
        {"field": _name(entry["loc"]), "where": str(entry["loc"][0]), "problem": entry["msg"]}
        for entry in error.errors()
    ]
    detail = f"{errors[0]['where']} {errors[0]['field']}: {errors[0]['problem']}"
    return await _refused(request, InvalidRequest(detail, errors=errors))


def _name(where: tuple[int | str, ...]) -> str:
    """Return the name of a parameter; in a list, its entries have numbers."""
    return str(next((part for part in reversed(where) if isinstance(part, str)), where[-1]))


async def _http_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = {"Allow": ", ".join(_allowed_methods(request))}
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=allow)
        error.headers = allow
    kind = {404: NotFound, 405: MethodNotAllowed}.get(error.status_code, Refusal)
    refusal = kind(f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)
    if kind is Refusal:
        refusal.status = HTTPStatus(error.status_code)
    return await _refused(request, refusal)


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes of this path; the framework names those of one route only."""
    found = {"OPTIONS"}
    for method in METHODS:
        scope = dict(request.scope, method=method)
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            found.add(method)
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _redis_away(request: Request, error: RedisError) -> Response:
    if full := full_redis(error):
        return await _store_full(request, full)
    log.warning("redis.away", error=type(error).__name__, detail=str(error))
    detail = str(error) if isinstance(error, ShardAway) else "the job queue does not answer"
    return await _refused(request, RedisUnavailable(detail, headers=retry_after(UNAVAILABLE_RETRY_S)))


async def _unknown_shard(request: Request, error: UnknownShard) -> Response:
    return await _refused(request, NoSuchShard(str(error)))


async def _store_away(request: Request, error: StoreError) -> Response:
    log.warning("store.away", error=type(error).__name__, detail=str(error))
    detail = "the blob store cannot be read or written; /readyz gives the reason"
    refusal = StoreUnavailable(detail, headers=retry_after(UNAVAILABLE_RETRY_S))
    return await _refused(request, refusal)


async def _newer_job(request: Request, error: NewerSpec) -> Response:
    log.warning("job.newer", detail=str(error))
    detail = "the job was written by a later version of undegrade"
    return await _refused(request, NewerJob(detail, headers=retry_after(UNAVAILABLE_RETRY_S)))


async def _store_full(request: Request, error: StoreFull) -> Response:
    log.warning("store.full", detail=str(error))
    return await _refused(request, StorageFull(str(error), headers=retry_after(FULL_RETRY_S)))


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header Retry-After in whole seconds, from 1 to one hour."""
    return {"Retry-After": str(min(3600, max(1, math.ceil(seconds))))}
