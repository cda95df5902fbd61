"""`/workers` and `/queue`: watch workers and lanes, drain workers, pause lanes, purge the queue."""

from collections.abc import Awaitable
from typing import Annotated, TypeVar

import structlog
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from jobs.errors import UnknownName
from jobs.overview import LaneView, take_overview
from jobs.purge import MAX_REASON_CHARACTERS, Selection, count, purge
from jobs.record import OperatorMark
from jobs.spec import Lane
from service.authentication import Admin, Caller, SystemReader
from service.refusals import InvalidRequest, NoSuchLane, NoSuchWorker
from service.routes.dependencies import CurrentDesk, problem_responses
from service.system_view import WorkerBody, worker_bodies

T = TypeVar("T")
log = structlog.get_logger()
router = APIRouter(tags=["admin"])
WorkerName = Annotated[str, Path(max_length=200, description="The name of a worker, or of a host: all its workers.")]
LaneName = Annotated[str, Path(max_length=64, description="interactive, standard or bulk.")]
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"


class QueueBody(BaseModel):
    """The lanes of every bundle that has workers or jobs."""

    lanes: list[LaneView]


class LaneState(BaseModel):
    """Whether a lane is paused, in every bundle; `pause` says since when and by whom."""

    lane: str
    paused: bool
    pause: OperatorMark | None


class Purged(BaseModel):
    """`matched`: queued jobs of the selection.  `canceled`: how many of them have ended; none of a dry run."""

    matched: int
    canceled: int
    dry_run: bool


def _by(caller: Caller) -> str:
    return f"key {caller.owner}"


def _audit(caller: Caller, act: str, **details: object) -> None:
    """Log an act of an operator, with the id of the key."""
    log.info("admin.acted", act=act, key_id=caller.owner, **details)


async def _known(action: Awaitable[T], refusal: type[NoSuchWorker] | type[NoSuchLane]) -> T:
    try:
        return await action
    except UnknownName as error:
        raise refusal(str(error)) from error


@router.get("/workers", responses=problem_responses(401, 403, 422, 503))
async def workers(desk: CurrentDesk, caller: SystemReader) -> list[WorkerBody]:
    """List the workers, one entry for each bundle of each worker."""
    return worker_bodies(await desk.queue.workers.alive())


@router.post("/workers/{name}/drain", responses=problem_responses(401, 403, 404, 422, 503))
async def drain_worker(name: WorkerName, desk: CurrentDesk, caller: Admin) -> list[WorkerBody]:
    """Let a worker finish the jobs that it holds and take no more.  With the name of a host, all of its workers."""
    drained = await _known(desk.queue.workers.drain(name, _by(caller)), NoSuchWorker)
    _audit(caller, "worker.drain", worker=name)
    return worker_bodies(drained)


@router.post("/workers/{name}/resume", responses=problem_responses(401, 403, 404, 422, 503))
async def resume_worker(name: WorkerName, desk: CurrentDesk, caller: Admin) -> list[WorkerBody]:
    """Let a worker, or all workers of a host, take jobs again.  A worker stays drained while its host is."""
    resumed = await _known(desk.queue.workers.resume(name), NoSuchWorker)
    _audit(caller, "worker.resume", worker=name)
    return worker_bodies(resumed)


@router.get("/queue", responses=problem_responses(401, 403, 422, 503))
async def queue(desk: CurrentDesk, caller: SystemReader) -> QueueBody:
    """List the lanes of every bundle: queued and running jobs, the oldest one, and the forecast."""
    return QueueBody(lanes=list((await take_overview(desk.queue, [desk.settings.bundle])).lanes))


@router.post("/queue/{lane}/pause", responses=problem_responses(401, 403, 404, 422, 503))
async def pause_lane(lane: LaneName, desk: CurrentDesk, caller: Admin) -> LaneState:
    """Pause a lane in every bundle.  It accepts jobs, which wait; jobs that workers have taken go on."""
    mark = await _known(desk.queue.pauses.pause(lane, _by(caller)), NoSuchLane)
    _audit(caller, "lane.pause", lane=lane)
    return LaneState(lane=lane, paused=True, pause=mark)


@router.post("/queue/{lane}/resume", responses=problem_responses(401, 403, 404, 422, 503))
async def resume_lane(lane: LaneName, desk: CurrentDesk, caller: Admin) -> LaneState:
    """Let workers take jobs of a paused lane again."""
    await _known(desk.queue.pauses.resume(lane), NoSuchLane)
    _audit(caller, "lane.resume", lane=lane)
    return LaneState(lane=lane, paused=False, pause=None)


@router.delete("/queue", responses=problem_responses(401, 403, 422, 503))
async def purge_queue(
    desk: CurrentDesk,
    caller: Admin,
    lane: Annotated[Lane | None, Query(description="Only jobs of this lane.")] = None,
    bundle: Annotated[str | None, Query(max_length=200, description="Only jobs of this bundle.")] = None,
    key: Annotated[str | None, Query(max_length=64, description="Only jobs of the API key with this id.")] = None,
    reason: Annotated[
        str,
        Query(max_length=MAX_REASON_CHARACTERS, pattern=PRINTABLE, description="For the owners of the jobs."),
    ] = "",
    dry_run: Annotated[bool, Query(description="Only count the jobs.")] = False,
) -> Purged:
    """Cancel queued jobs and erase their images: those of `lane`, `bundle` and `key` together, of which one is needed.

    Jobs that workers have taken go on.
    """
    selection = Selection(lane=lane, bundle=bundle, owner=key)
    if selection.empty:
        problem = "expected lane, bundle or key: a purge needs a selection"
        raise InvalidRequest(problem, errors=[{"field": "lane", "problem": problem}])
    matched = await count(desk.queue, selection)
    canceled = 0 if dry_run else await purge(desk.queue, selection, reason)
    if canceled:
        desk.eraser.rewrite_file()
    if not dry_run:
        _audit(caller, "queue.purge", lane=lane, bundle=bundle, of_key=key, canceled=canceled, reason=reason)
    return Purged(matched=max(matched, canceled), canceled=canceled, dry_run=dry_run)
