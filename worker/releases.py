"""Puts jobs back into their queues, and logs those that end with it."""

from collections.abc import Sequence

from jobs.job_log import log_released
from jobs.queue import Queue
from jobs.record import Failure
from worker.held_jobs import lease_numbers
from worker.job_run import JobRun


async def release(
    queue: Queue, token: str, runs: Sequence[JobRun], *, died: bool = False, failure: Failure | None = None
) -> None:
    """Put back the jobs of these runs; see `Queue.release`.  It may be repeated, also once they are leased again."""
    jobs, numbers = [run.spec.id for run in runs], lease_numbers(runs)
    await log_released(queue, await queue.release(token, jobs, died=died, failure=failure, numbers=numbers))
