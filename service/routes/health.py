"""`/livez`, `/readyz`, `/startupz`: probes for the platform, without a key."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from redis.exceptions import RedisError

from jobs.errors import full_redis
from jobs.shards.shards import Shards
from service.routes.dependencies import CurrentDesk, OpenAPIResponses, problem_responses

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """`reasons` says in sentences what is missing."""

    status: str
    reasons: list[str] = []


class Readiness(Health):
    """`notes` says in sentences what operators have stopped."""

    notes: list[str] = []


def _readiness(reasons: list[str], notes: list[str]) -> Response:
    return _response(Readiness(status="not ready" if reasons else "ready", reasons=reasons, notes=notes))


def _health_response(reasons: list[str], healthy: str) -> Response:
    return _response(Health(status=f"not {healthy}" if reasons else healthy, reasons=reasons))


def _response(health: Health) -> Response:
    reasons = health.reasons
    return Response(health.model_dump_json(), status_code=503 if reasons else 200, media_type="application/json")


UNHEALTHY: OpenAPIResponses = {503: {"model": Health, "description": "Not yet, or no longer"}}


@router.get("/livez", response_model=Health, responses=UNHEALTHY)
async def livez(request: Request) -> Response:
    """Return 200 while the event loop and the listener run.  Redis does not matter: a restart would not repair it."""
    await asyncio.sleep(0)
    listener: asyncio.Task[None] = request.app.state.listener
    return _health_response(["the listener for job changes has died"] if listener.done() else [], "alive")


@router.get("/startupz", response_model=Health, responses=UNHEALTHY)
async def startupz(request: Request) -> Response:
    """Return 200 once the process has started.  Only workers load weights, so nothing else is checked."""
    return await livez(request)


@router.get(
    "/readyz", response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not yet, or no longer"}, **problem_responses(422)},
)  # fmt: skip
async def readyz(
    request: Request,
    desk: CurrentDesk,
    exclude: Annotated[
        Literal["worker"] | None,
        Query(description="Do not ask for a worker: without one, the API still takes jobs and returns results."),
    ] = None,
) -> Response:
    """Return 200 if Redis answers, the store can be written and read, and a worker of the bundle takes jobs.

    A paused lane does not make the service unready: it accepts jobs.
    """
    bundle, probe = desk.settings.bundle, request.app.state.store_probe
    try:
        workers = [worker for worker in await desk.queue.workers.alive() if worker.bundle == bundle]
        paused = await desk.queue.pauses.paused()
    except RedisError as error:
        full = full_redis(error)
        return _readiness([str(full) if full else f"Redis does not answer: {type(error).__name__}"], [])
    reasons = [reason] if (reason := await probe.reason()) else []
    shards: Shards | None = request.app.state.shards
    of_shards = shards.sentences() if shards else []
    if shards and not any(shard.takes_jobs for shard in shards.all):
        reasons.append("no shard takes new jobs")
    if exclude == "worker":
        return _readiness(reasons, of_shards)
    if not workers:
        reasons.append(f"there is no worker for {bundle}")
    elif not any(worker.ready for worker in workers):
        why = [f"{worker.name}: {worker.reason}" for worker in workers if worker.reason]
        reasons += [f"{len(workers)} workers of {bundle}, none is ready", *why]
    elif not any(worker.takes_jobs for worker in workers):
        reasons.append(f"operators drain every worker of {bundle}; `undegrade workers resume NAME` ends that")
    drained = sum(worker.drain is not None for worker in workers)
    notes = [f"operators drain {drained} of {len(workers)} workers of {bundle}"] if drained else []
    return _readiness(reasons, [*of_shards, *notes, *(f"lane {lane} is paused" for lane in paused)])
