"""The JSON views of workers and of the whole system."""

from collections.abc import Sequence

from pydantic import BaseModel

from jobs.record import OperatorMark, WorkerInfo, WorkerState
from jobs.redis_health import RedisHealth
from service.shard_view import ShardBody

RESUME = "undegrade workers resume"


class WorkerBody(BaseModel):
    """One worker, once for each of its bundles.

    `state`: idle, busy, draining (an operator drains it, and it may still hold jobs), drained (it holds none),
    stopping, or not-ready; `reason` says why not.  `sha256` is of the bundle's manifest.  `memory_bytes` is what its
    engine holds of `device_bytes`.  `steps_per_s` counts the denoising steps of the last 10 s, `jobs_ended` the jobs
    since its start.
    """

    name: str
    host: str
    version: str
    bundle: str
    bundle_version: str
    sha256: str
    device: str
    device_name: str
    driver: str
    device_bytes: int | None
    memory_bytes: int | None
    lanes: tuple[str, ...]
    max_batch: int
    budget_mp: float | None
    state: WorkerState
    ready: bool
    reason: str
    drain: OperatorMark | None
    in_hand: int
    steps_per_s: float
    jobs_ended: int
    started_ms: int


class System(BaseModel):
    """The workers, the queue of the default bundle, and what is wrong.

    `store`, `redis` and `shards` are null for a key that is not an admin key; `shards` also where one plain Redis
    server has all jobs.  With several, `redis` is the first that answers.
    """

    version: str
    bundle: str
    workers: list[WorkerBody]
    queued: dict[str, int]
    paused_lanes: list[str]
    running: int
    seconds_per_job: float | None
    store: str | None
    redis: RedisHealth | None
    shards: list[ShardBody] | None = None
    problems: list[str]


def worker_bodies(workers: Sequence[WorkerInfo]) -> list[WorkerBody]:
    """Return the JSON views of workers."""
    return [WorkerBody.model_validate(worker, from_attributes=True) for worker in workers]


def worker_problems(workers: Sequence[WorkerInfo], bundle: str) -> list[str]:
    """Return what is wrong with the workers of a service whose default bundle is `bundle`, in sentences."""
    found = [
        f"worker {worker.name} is not ready: {worker.reason or 'it gives no reason'}"
        for worker in workers
        if worker.state == "not-ready"
    ]
    own = [worker for worker in workers if worker.bundle == bundle]
    if not own:
        found.append(f"there is no worker for {bundle}: start `undegrade worker`")
    elif all(worker.drain for worker in own):
        found.append(f"operators drain every worker of {bundle}: `{RESUME} NAME` ends that")
    found += _differences("version of undegrade", {worker.version for worker in workers})
    for name in sorted({worker.bundle for worker in workers}):
        found += _differences(
            f"files of the bundle {name}", {w.sha256 for w in workers if w.bundle == name and w.sha256}
        )
    return found


def _differences(what: str, values: set[str]) -> list[str]:
    """Return the sentence about workers that differ, which is right during an upgrade only."""
    return [f"the workers differ in the {what}: finish the upgrade"] if len(values) > 1 else []
