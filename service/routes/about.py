"""`/limits`, `/degradations`, `/models`, `/system`: what this service accepts, can repair, and runs on."""

from importlib.metadata import version

from fastapi import APIRouter, Request
from pydantic import BaseModel

from jobs.record import WorkerInfo
from jobs.redis_health import public_url, read_health
from jobs.shards.shards import Shards
from jobs.spec import LANES
from models.vocabulary import DEGRADATIONS, degradation, is_known
from service.authentication import AnyCaller
from service.control_bounds import ControlBounds, PresetBody, control_bounds, preset_bodies
from service.desk import Desk
from service.image_header import MAX_SIDE_PX, MEDIA_TYPES
from service.limits.allowance import CallerLimits, caller_limits
from service.negotiation import MAX_WAIT_S
from service.prompts import style_of
from service.request_fields import MAX_DEADLINE_S
from service.routes.dependencies import CurrentDesk, problem_responses
from service.shard_view import shard_bodies, shard_problems
from service.system_view import System, worker_bodies, worker_problems

router = APIRouter(tags=["about"])


class Limits(BaseModel):
    """The limits of uploads, waits and the queue, how long results are kept, the presets, and the controls' bounds.

    `image_url`: images are fetched from URLs of some hosts.  `uploads`: `POST /uploads` works.  `caller`: the quotas of
    the caller of this request.
    """

    max_bytes: int
    max_megapixels: float
    max_side_px: int
    max_queued: int
    max_batch_images: int
    max_batch_bytes: int
    max_wait_s: int
    max_deadline_s: float
    keep_s: int
    formats: list[str]
    lanes: list[str]
    image_url: bool
    uploads: bool
    presets: list[PresetBody]
    controls: dict[str, ControlBounds]
    caller: CallerLimits


class DegradationBody(BaseModel):
    """A value of `only` and `skip`; `available` if a ready worker can repair it."""

    name: str
    aliases: list[str]
    prompt: str
    fidelity: float
    available: bool


class ModelBody(BaseModel):
    """A bundle that workers have loaded or are loading.

    `prompts`: `words` where a prompt is taken as words, and refused if they are not understood; `free` where it is free
    text.
    """

    name: str
    family: str
    version: str
    license: str
    credit: str
    degradations: list[str]
    prompts: str
    workers: int
    ready: int


@router.get("/limits", responses=problem_responses(401, 503))
def limits(desk: CurrentDesk, caller: AnyCaller) -> Limits:
    """Return the limits, and how much of its own quotas this caller has left."""
    settings = desk.settings
    return Limits(
        max_bytes=settings.max_bytes,
        max_megapixels=settings.max_megapixels,
        max_side_px=MAX_SIDE_PX,
        max_queued=settings.max_queued,
        max_batch_images=settings.max_batch_images,
        max_batch_bytes=settings.max_batch_bytes,
        max_wait_s=MAX_WAIT_S,
        max_deadline_s=MAX_DEADLINE_S,
        keep_s=settings.keep_s,
        formats=list(MEDIA_TYPES),
        lanes=list(LANES),
        image_url=bool(settings.image_url_hosts),
        uploads=desk.store.signs,
        presets=preset_bodies(),
        controls=control_bounds(),
        caller=caller_limits(caller),
    )


@router.get("/degradations", responses=problem_responses(401, 503))
async def degradations(desk: CurrentDesk, caller: AnyCaller) -> list[DegradationBody]:
    """List the degradations, also those that a bundle has learned, and which of them the ready workers can repair."""
    workers = await _workers(desk)
    available = {entry.name: entry for worker in workers if worker.ready for entry in worker.degradations}
    learned = [degradation(name) for name in sorted(available) if not is_known(name)]
    return [
        DegradationBody(
            name=entry.name,
            aliases=list(entry.aliases),
            prompt=available[entry.name].prompt if entry.name in available else entry.prompt,
            fidelity=available[entry.name].fidelity if entry.name in available else entry.fidelity,
            available=entry.name in available,
        )
        for entry in (*DEGRADATIONS, *learned)
    ]


@router.get("/models", responses=problem_responses(401, 503))
async def models(desk: CurrentDesk, caller: AnyCaller) -> list[ModelBody]:
    """List the bundles of the workers."""
    by_bundle: dict[tuple[str, str], list[WorkerInfo]] = {}
    for worker in await desk.queue.workers.alive():
        by_bundle.setdefault((worker.bundle, worker.bundle_version), []).append(worker)
    return [_model(workers) for _, workers in sorted(by_bundle.items())]


@router.get("/system", responses=problem_responses(401, 503))
async def system(request: Request, desk: CurrentDesk, caller: AnyCaller) -> System:
    """Return the workers and the backlog; with an admin key, or while no key is needed, also Redis and the store."""
    settings, backlog = desk.settings, await desk.queue.backlog(desk.settings.bundle)
    workers = await desk.queue.workers.alive()
    shards: Shards | None = request.app.state.shards
    if not caller.sees_system:
        redis, of_shards, of_redis = None, None, []
    elif shards is None:
        redis, of_shards = await read_health(desk.queue.redis, settings.redis_url), None
        of_redis = [f"Redis: {entry.problem}; {entry.remedy}" for entry in redis.problems]
    else:
        of_shards = await shard_bodies(shards)
        redis = next((body.redis for body in of_shards if body.redis), None)
        of_redis = shard_problems(shards, of_shards)
    return System(
        version=version("undegrade"),
        bundle=settings.bundle,
        workers=worker_bodies(workers),
        queued=backlog.queued,
        paused_lanes=list(await desk.queue.pauses.paused()),
        running=backlog.running,
        seconds_per_job=backlog.seconds_per_job,
        store=public_url(settings.store_url) if caller.sees_system else None,
        redis=redis,
        shards=of_shards,
        problems=[*of_redis, *worker_problems(workers, settings.bundle)],
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
        credit=first.credit,
        degradations=sorted({entry.name for worker in workers for entry in worker.degradations}),
        prompts=style_of(workers),
        workers=len(workers),
        ready=sum(worker.ready for worker in workers),
    )
