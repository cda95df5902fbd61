"""Puts jobs back into their queues, and logs those that end with it."""

from collections.abc import Sequence

from jobs.job_log import log_released
from jobs.queue import Queue
from jobs.record import Failure


async def release(
    queue: Queue, token: str, jobs: Sequence[str], *, died: bool = False, failure: Failure | None = None
) -> None:
    """Put back jobs that this worker holds; see `Queue.release`."""
    await log_released(queue, await queue.release(token, jobs, died=died, failure=failure))
