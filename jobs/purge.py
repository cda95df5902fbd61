"""Removes queued jobs on the word of an operator: those of a lane, of a bundle, or of an API key.

A purge is of the jobs that are queued when it begins.  A job that a worker leases meanwhile goes on.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from jobs import redis_keys
from jobs.errors import SpecError
from jobs.lane_pauses import queues_in_use
from jobs.queue import Queue
from jobs.record import Failure
from jobs.spec import JobSpec, Lane, load_spec, queue_name

JOBS_AT_ONCE = 100
"""Redis does nothing else while a script runs."""
HINT = "submit it again, or ask the operator of the service"
MAX_REASON_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Queued jobs: those of a lane, a bundle and an owner (the id of an API key) together; None means any."""

    lane: Lane | None = None
    bundle: str | None = None
    owner: str | None = None

    @property
    def empty(self) -> bool:
        return self.lane is None and self.bundle is None and self.owner is None


async def count(queue: Queue, selection: Selection) -> int:
    """Returns how many queued jobs a purge would end now."""
    return sum([len(jobs) async for jobs in _selected(queue, selection)])


async def purge(queue: Queue, selection: Selection, reason: str = "") -> int:
    """End the queued jobs as canceled, erase their images and prompts, and tell waiting clients.

    Args:
        reason: the operator's own words, for the owners of the jobs.

    Returns:
        How many have ended.
    """
    detail = "an operator removed the job from the queue" + (f": {reason[:MAX_REASON_CHARACTERS]}" if reason else "")
    cause = Failure(code="purged", detail=detail, hint=HINT)
    return sum([len(await queue.purge(jobs, cause)) async for jobs in _selected(queue, selection)])


async def _selected(queue: Queue, selection: Selection) -> AsyncIterator[dict[str, JobSpec | None]]:
    """Yields the queued jobs in groups; a spec that this version cannot read is None."""
    for part in queue.parts():
        for bundle, lane in await queues_in_use(part.redis):
            if selection.lane not in (None, lane) or selection.bundle not in (None, bundle):
                continue
            ids = await part.redis.lrange(redis_keys.RQ_QUEUE + queue_name(bundle, lane), 0, -1)
            for start in range(0, len(ids), JOBS_AT_ONCE):
                yield await _group(part, ids[start : start + JOBS_AT_ONCE], selection.owner)


async def _group(queue: Queue, ids: list[bytes], owner: str | None) -> dict[str, JobSpec | None]:
    async with queue.redis.pipeline(transaction=False) as pipeline:
        for job in ids:
            pipeline.hmget(redis_keys.JOB + job.decode(errors="replace"), "state", "owner", "spec")
        rows = await pipeline.execute()
    return {
        job.decode(): _readable(spec)
        for job, (state, of, spec) in zip(ids, rows, strict=True)
        if state == b"queued" and (owner is None or of == owner.encode())
    }


def _readable(text: bytes) -> JobSpec | None:
    try:
        return load_spec(text)
    except SpecError:
        return None
