"""`/livez`, `/readyz`, `/startupz`: for the platform, without a key."""

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from redis.exceptions import RedisError

from service.routes.dependencies import AtDesk, Documented

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """`reasons` says what is missing, in sentences."""

    status: str
    reasons: list[str] = []


def _answer(reasons: list[str], good: str) -> Response:
    health = Health(status=f"not {good}" if reasons else good, reasons=reasons)
    return Response(health.model_dump_json(), status_code=503 if reasons else 200, media_type="application/json")


UNWELL: Documented = {503: {"model": Health, "description": "Not yet, or not any more"}}


@router.get("/livez", response_model=Health, responses=UNWELL)
async def livez(request: Request) -> Response:
    """The event loop turns, and the listener lives.  Never about Redis: a restart would not bring it back."""
    await asyncio.sleep(0)
    listener: asyncio.Task[None] = request.app.state.listener
    return _answer(["the listener for job changes has died"] if listener.done() else [], "alive")


@router.get("/startupz", response_model=Health, responses=UNWELL)
async def startupz(request: Request) -> Response:
    """The process has started; weights are the workers' business."""
    return await livez(request)


@router.get("/readyz", response_model=Health, responses=UNWELL)
async def readyz(desk: AtDesk) -> Response:
    """Redis answers, and a worker of the bundle is ready."""
    bundle = desk.settings.bundle
    try:
        workers = [worker for worker in await desk.queue.workers.alive() if worker.bundle == bundle]
    except RedisError as error:
        return _answer([f"Redis does not answer: {type(error).__name__}"], "ready")
    if any(worker.ready for worker in workers):
        return _answer([], "ready")
    if workers:
        return _answer([f"{len(workers)} workers of {bundle} are starting, none is ready"], "ready")
    return _answer([f"there is no worker for {bundle}"], "ready")
