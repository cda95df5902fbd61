"""`/limits`, `/degradations`, `/models`, `/system`: what this service can do, and with what."""

from importlib.metadata import version

from fastapi import APIRouter
from pydantic import BaseModel

from jobs.record import WorkerInfo
from jobs.spec import LANES
from models.vocabulary import DEGRADATIONS
from service.authentication import Guarded
from service.desk import Desk
from service.image_header import MEDIA_TYPES, MOST_SIDE_PX
from service.negotiation import MOST_WAIT_S
from service.options import LONGEST_DEADLINE_S
from service.routes.dependencies import AtDesk, problems

router = APIRouter(tags=["about"])


class Limits(BaseModel):
    """What is taken, and how long it is kept."""

    most_bytes: int
    most_megapixels: float
    most_side_px: int
    most_queued: int
    most_wait_s: int
    longest_deadline_s: float
    keep_s: int
    formats: list[str]
    lanes: list[str]


class DegradationBody(BaseModel):
    """What may be written in `only` and `skip`; `available`: whether a ready worker repairs it."""

    name: str
    aliases: list[str]
    prompt: str
    fidelity: float
    available: bool


class ModelBody(BaseModel):
    """A bundle that workers have loaded, or are loading."""

    name: str
    family: str
    version: str
    license: str
    degradations: list[str]
    workers: int
    ready: int


class WorkerBody(BaseModel):
    """One worker."""

    name: str
    host: str
    bundle: str
    device: str
    lanes: tuple[str, ...]
    max_batch: int
    budget_mp: float | None
    ready: bool
    in_hand: int
    started_ms: int


class System(BaseModel):
    """What is at work, and what is in line."""

    version: str
    bundle: str
    workers: list[WorkerBody]
    queued: dict[str, int]
    running: int
    seconds_per_job: float | None


@router.get("/limits", responses=problems(401, 503))
def limits(desk: AtDesk, caller: Guarded) -> Limits:
    """What is taken."""
    settings = desk.settings
    return Limits(
        most_bytes=settings.most_bytes,
        most_megapixels=settings.most_megapixels,
        most_side_px=MOST_SIDE_PX,
        most_queued=settings.most_queued,
        most_wait_s=MOST_WAIT_S,
        longest_deadline_s=LONGEST_DEADLINE_S,
        keep_s=settings.keep_s,
        formats=list(MEDIA_TYPES),
        lanes=list(LANES),
    )


@router.get("/degradations", responses=problems(401, 503))
async def degradations(desk: AtDesk, caller: Guarded) -> list[DegradationBody]:
    """What can be named, and what the ready workers repair."""
    workers = await _workers(desk)
    told = {entry.name: entry for worker in workers if worker.ready for entry in worker.degradations}
    return [
        DegradationBody(
            name=entry.name,
            aliases=list(entry.aliases),
            prompt=told[entry.name].prompt if entry.name in told else entry.prompt,
            fidelity=told[entry.name].fidelity if entry.name in told else entry.fidelity,
            available=entry.name in told,
        )
        for entry in DEGRADATIONS
    ]


@router.get("/models", responses=problems(401, 503))
async def models(desk: AtDesk, caller: Guarded) -> list[ModelBody]:
    """The bundles at work."""
    by_bundle: dict[tuple[str, str], list[WorkerInfo]] = {}
    for worker in await desk.queue.workers.alive():
        by_bundle.setdefault((worker.bundle, worker.bundle_version), []).append(worker)
    return [_model(workers) for _, workers in sorted(by_bundle.items())]


@router.get("/system", responses=problems(401, 503))
async def system(desk: AtDesk, caller: Guarded) -> System:
    """Workers and backlog."""
    backlog = await desk.queue.backlog(desk.settings.bundle)
    return System(
        version=version("undegrade"),
        bundle=desk.settings.bundle,
        workers=[
            WorkerBody.model_validate(worker, from_attributes=True) for worker in await desk.queue.workers.alive()
        ],
        queued=backlog.queued,
        running=backlog.running,
        seconds_per_job=backlog.seconds_per_job,
    )


async def _workers(desk: Desk) -> list[WorkerInfo]:
    return [worker for worker in await desk.queue.workers.alive() if worker.bundle == desk.settings.bundle]


def _model(workers: list[WorkerInfo]) -> ModelBody:
    first = workers[0]
    return ModelBody(
        name=first.bundle,
        family=first.family,
        version=first.bundle_version,
        license=first.license,
        degradations=sorted({entry.name for worker in workers for entry in worker.degradations}),
        workers=len(workers),
        ready=sum(worker.ready for worker in workers),
    )
