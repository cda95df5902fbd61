"""Commits finished jobs, as many together as have finished meanwhile."""

import asyncio
import time
from functools import partial

import structlog
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.errors import StoreError
from jobs.job_log import log_end
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
    """Keeps finished jobs until Redis has them, and then deletes what they leave in the store."""

    def __init__(
        self, queue: Queue, token: str, held: HeldJobs, metrics: WorkerMetrics, retry: RedisRetry
    ) -> None:  # fmt: skip
        self.queue, self.token, self.held, self.metrics, self.retry = queue, token, held, metrics, retry
        self.uncommitted, self.cleaning = 0, BackgroundTasks()
        self._finished: asyncio.Queue[tuple[JobRun, Finished]] = asyncio.Queue()

    @property
    def busy(self) -> bool:
        """Whether a job is not committed yet, or what it left is not deleted yet."""
        return bool(self.uncommitted or self.cleaning)

    def add(self, run: JobRun, finished: Finished) -> None:
        self.uncommitted += 1
        run.trace.committing()
        self._finished.put_nowait((run, finished))

    async def run(self) -> None:
        """Commit until canceled."""
        while True:
            batch = [await self._finished.get()]
            while len(batch) < MAX_JOBS_PER_COMMIT and not self._finished.empty():
                batch.append(self._finished.get_nowait())
            until_s = time.monotonic() + redis_keys.LEASE_MS / 1000
            await self.retry("commit", partial(self._commit, batch, until_s))
            self.uncommitted -= len(batch)

    async def _commit(self, batch: list[tuple[JobRun, Finished]], replicated_until_s: float) -> None:
        """Commit a batch; a repetition, after a reply that was lost, has the same answers.

        A repetition also saves results whose replicas did not answer: after a failover, it ends the jobs once more.
        Later than a lease, other workers would have the jobs, and this one goes on.
        """
        late = time.monotonic() >= replicated_until_s
        lasting = not (late and self.queue.replication.replicas)  # else a failover could take these ends back
        states = await self.queue.commit(self.token, [finished for _, finished in batch], replicated=not late)
        if not lasting:
            log.warning("commit.not-replicated", jobs=len(batch))
        for (run, finished), state in zip(batch, states, strict=True):
            self.held.remove(run)
            self.metrics.on_ended(run.spec, state or State.CANCELED, run.seconds)
            self._log(run, finished, state)
            # Pictures count for nothing where the job did not succeed, the lease was lost, or a cancel came first
            discard, over = state is not State.SUCCEEDED, state is not None
            retried = state is State.FAILED and run.spec.store  # its input stays, so that it can be tried again
            self.cleaning.spawn(clean_up(run, discard=discard, delete_input=over and not retried and lasting))

    def _log(self, run: JobRun, finished: Finished, state: State | None) -> None:
        """Write the job's line, and end its trace: both tell how it ended, which a cancel may have decided."""
        if state is None:
            log.warning("lease.lost", job=run.spec.id)
            run.trace.end("lease-lost")
            return
        failure = finished.outcome.failure if state is finished.state else None
        log_end(
            run.spec, state, attempts=run.leased.attempts, request=run.leased.request, failure=failure,
            seconds=run.seconds, worker=run.services.worker,
        )  # fmt: skip
        run.trace.end(state, failure)


async def clean_up(run: JobRun, *, discard: bool, delete_input: bool = False) -> None:
    """Delete what a run stored, and the input.  Where the store fails, their time to live ends them."""
    try:
        if discard:
            await run.discard()
        if delete_input:
            await run.delete_input()
    except (RedisError, StoreError, OSError) as error:
        log.warning("pictures.left", job=run.spec.id, error=str(error))
