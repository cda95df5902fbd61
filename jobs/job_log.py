"""The log line of a job's end: one for each job, by the process that ended it."""

import time
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from jobs.record import Failure, JobRecord
from jobs.request_context import RequestContext
from jobs.spec import JobSpec
from jobs.state import State

log = structlog.get_logger()
ENDS: Mapping[str, State] = {"canceled": State.CANCELED, "expired": State.EXPIRED, "poison": State.FAILED}
"""The answers of scripts/release.lua and scripts/reclaim.lua that end a job."""


class Records(Protocol):
    """Where the records of jobs are read: the queue."""

    async def record(self, job: str, /) -> JobRecord | None: ...


def log_end(
    spec: JobSpec, state: State, *, attempts: int, request: RequestContext, failure: Failure | None = None,
    seconds: Mapping[str, float] | None = None, worker: str | None = None,
) -> None:  # fmt: skip
    """Log that a job has ended; `seconds` are those of its stages."""
    log.info(
        "job.ended", job=spec.id, state=state.value, kind=spec.kind, bundle=spec.bundle, lane=spec.lane,
        attempts=attempts, code=failure.code if failure else None,
        seconds=round(max(0.0, time.time() - spec.submitted_ms / 1000), 4), stage_seconds=dict(seconds or {}),
        worker=worker, key_id=spec.owner, request_id=request.request_id, trace_id=request.trace_id,
    )  # fmt: skip


def log_end_of(record: JobRecord, state: State) -> None:
    """Log the end of a job that no worker has ended."""
    log_end(
        record.spec, state, attempts=record.attempts, request=record.request, failure=record.outcome.failure,
        seconds=record.outcome.seconds,
    )  # fmt: skip


async def log_ends(queue: Records, ended: Mapping[str, State] | Iterable[tuple[str, State]]) -> None:
    """Log jobs that a script has ended, by id.

    Raises:
        redis.exceptions.RedisError: Redis is away, so their records cannot be read.
    """
    for job, state in dict(ended).items():
        if record := await queue.record(job):
            log_end_of(record, state)


async def log_released(queue: Records, answers: Mapping[str, str]) -> None:
    """Log those jobs that ended when they were put back, by the answers of `Queue.release` or `reclaim`."""
    await log_ends(queue, {job: ENDS[answer] for job, answer in answers.items() if answer in ENDS})
