"""The queue by bundle and lane, and the workers, at one moment: for operators."""

from collections.abc import Sequence

from jobs.forecast import forecast
from jobs.lane_pauses import queues_in_use
from jobs.queue import Queue
from jobs.record import OperatorMark, TolerantModel, WorkerInfo
from jobs.spec import LANES, Lane


class LaneView(TolerantModel):
    """A lane of a bundle.

    Attributes:
        running: jobs that workers have taken.
        oldest_s: how long its first job has waited.
        eta_s: in how many seconds a job of a caller without an API key that arrives now would have ended: behind all
            others where nobody uses keys, and otherwise where its share puts it; None before a job has ended, while
            the lane is paused, and while no worker takes jobs of it.
    """

    bundle: str
    lane: Lane
    queued: int
    running: int
    oldest_s: float | None
    eta_s: float | None
    paused: bool = False
    paused_since_ms: int | None = None
    paused_by: str = ""


class Overview(TolerantModel):
    """`workers`: one entry for each bundle of each worker."""

    lanes: tuple[LaneView, ...]
    workers: tuple[WorkerInfo, ...]


async def take_overview(queue: Queue, bundles: Sequence[str] = ()) -> Overview:
    """Returns the lanes of these bundles, of those that workers have, and of all that have jobs."""
    workers, pauses = await queue.workers.alive(), await queue.pauses.paused()
    served = {*bundles, *(worker.bundle for worker in workers)}
    names = sorted(served | {bundle for part in queue.parts() for bundle, _ in await queues_in_use(part.redis)})
    takers = {(worker.bundle, lane) for worker in workers if worker.takes_jobs for lane in worker.lanes}
    lanes = [
        await _lane(queue, bundle, lane, pauses.get(lane), (bundle, lane) in takers)
        for bundle in names
        for lane in LANES
    ]
    busy = {lane.bundle for lane in lanes if lane.queued or lane.running}
    return Overview(lanes=tuple(lane for lane in lanes if lane.bundle in served | busy), workers=tuple(workers))


async def _lane(queue: Queue, bundle: str, lane: Lane, pause: OperatorMark | None, served: bool) -> LaneView:
    line = await queue.line(bundle, lane)
    new_job = forecast("", lane, line.with_new_job(lane))
    oldest_s = line.oldest_s(lane)
    running = round(sum(job.stands_for for job in line.taken if job.lane == lane))
    return LaneView(
        bundle=bundle, lane=lane, queued=line.queued[lane], running=running,
        oldest_s=None if oldest_s is None else round(oldest_s, 1),
        eta_s=new_job.eta_s if new_job and served else None, paused=pause is not None,
        paused_since_ms=pause.since_ms if pause else None, paused_by=pause.by if pause else "",
    )  # fmt: skip
