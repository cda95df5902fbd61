"""Removes queued jobs on the word of an operator: those of a lane, of a bundle, or of an API key.

A purge is of the jobs that are queued when it begins.  A job that a worker leases meanwhile goes on.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

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
        began_ms = await part.now_ms()
        for bundle, lane in await queues_in_use(part.redis):
            if selection.lane not in (None, lane) or selection.bundle not in (None, bundle):
                continue
            async for ids in _queued(part.redis, queue_name(bundle, lane)):
                yield await _group(part, ids, selection.owner, began_ms)


async def _queued(redis: Any, queue: str) -> AsyncIterator[list[bytes]]:  # noqa: ANN401 - the client answers in bytes
    """Yields the ids of a line in groups, from its end to its begin.

    A job that leaves the middle of a line has its place taken by the last one, so from end to begin none is missed.
    """
    line, list_of_rq = redis_keys.LINE + queue, redis_keys.RQ_QUEUE + queue
    if await redis.zcard(line) != await redis.llen(list_of_rq):  # an earlier version works on the line, too
        ids = await redis.lrange(list_of_rq, 0, -1)
        for start in range(0, len(ids), JOBS_AT_ONCE):
            yield ids[start : start + JOBS_AT_ONCE]
        return
    top: float | str = "+inf"
    while rows := await redis.zrevrangebyscore(line, top, "-inf", start=0, num=JOBS_AT_ONCE, withscores=True):
        yield [job for job, _ in rows]
        top = f"({rows[-1][1]:.17g}"


async def _group(
    queue: Queue, ids: list[bytes], owner: str | None, began_ms: int
) -> dict[str, JobSpec | None]:  # fmt: skip
    async with queue.redis.pipeline(transaction=False) as pipeline:
        for job in ids:
            pipeline.hmget(redis_keys.JOB + job.decode(errors="replace"), "state", "owner", "spec", "enqueued_ms")
        rows = await pipeline.execute()
    return {
        job.decode(): _readable(spec)
        for job, (state, of, spec, since_ms) in zip(ids, rows, strict=True)
        if state == b"queued" and (owner is None or of == owner.encode()) and int(since_ms or 0) <= began_ms
    }


def _readable(text: bytes) -> JobSpec | None:
    try:
        return load_spec(text)
    except SpecError:
        return None
