"""Commits finished jobs, as many together as have finished meanwhile."""

import asyncio
import contextlib

import structlog
from redis.exceptions import RedisError

from jobs.errors import StoreError
from jobs.lease import Finished
from jobs.queue import Queue
from jobs.state import State
from worker.background_tasks import BackgroundTasks
from worker.held_jobs import HeldJobs
from worker.job_run import JobRun
from worker.metrics import WorkerMetrics
from worker.redis_retry import RedisRetry

log = structlog.get_logger()
MAX_JOBS_PER_COMMIT = 32


class Committer:
    """Keeps finished jobs until Redis has them.  `uncommitted` counts them."""

    def __init__(
        self, queue: Queue, token: str, held: HeldJobs, metrics: WorkerMetrics, retry: RedisRetry,
        background: BackgroundTasks,
    ) -> None:  # fmt: skip
        self.queue, self.token, self.held, self.metrics = queue, token, held, metrics
        self.retry, self.background = retry, background
        self.uncommitted = 0
        self._finished: asyncio.Queue[tuple[JobRun, Finished]] = asyncio.Queue()

    def add(self, run: JobRun, finished: Finished) -> None:
        self.uncommitted += 1
        self._finished.put_nowait((run, finished))

    async def run(self) -> None:
        """Commit until canceled."""
        while True:
            batch = [await self._finished.get()]
            while len(batch) < MAX_JOBS_PER_COMMIT and not self._finished.empty():
                batch.append(self._finished.get_nowait())
            await self.retry("commit", lambda batch=batch: self._commit(batch))  # type: ignore[misc]
            self.uncommitted -= len(batch)

    async def _commit(self, batch: list[tuple[JobRun, Finished]]) -> None:
        states = await self.queue.commit(self.token, [finished for _, finished in batch])
        for (run, finished), state in zip(batch, states, strict=True):
            self.held.remove(run)
            self.metrics.on_ended(run.spec.bundle, state or State.CANCELED, run.seconds)
            log.info("job.ended", job=run.spec.id, state=state, seconds=finished.outcome.seconds)
            if state is not finished.state:  # the lease was lost, or a cancel came first: no record names the pictures
                await run.discard()
            if state is not None:
                self.background.spawn(self._delete_input(run))

    async def _delete_input(self, run: JobRun) -> None:
        with contextlib.suppress(RedisError, StoreError):  # its time to live ends it, too
            await run.delete_input()
