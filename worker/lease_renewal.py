"""Renews the leases of the held jobs, and ends jobs that are canceled, lost or past their deadline."""

import asyncio
import time

from jobs.queue import Queue
from worker.held_jobs import HeldJobs, lease_numbers
from worker.metrics import WorkerMetrics
from worker.redis_retry import RedisRetry

RENEW_S = 0.5
"""Far below the lease: the answer also brings cancellations, which must take effect within 2 s."""


class LeaseRenewal:
    """Renews the leases of the jobs of one queue every RENEW_S."""

    def __init__(self, queue: Queue, token: str, held: HeldJobs, metrics: WorkerMetrics, retry: RedisRetry) -> None:
        self.queue, self.token, self.held, self.metrics, self.retry = queue, token, held, metrics, retry

    async def run(self) -> None:
        """Renew until canceled."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self.retry("renew", self._renew)

    async def _renew(self) -> None:
        asked = {run.spec.id: run for run in self.held if run.services.queue is self.queue}
        answers = await self.queue.renew(self.token, list(asked), lease_numbers(asked.values()))
        now_ms = time.time() * 1000
        for job, answer in answers.items():
            run = asked[job]
            if not self.held.holds(run):  # it has ended; a later attempt of the job was not asked for
                continue
            if answer == "lost":
                self.metrics.leases_lost.inc()
                run.abandon()
            elif answer == "cancel":
                run.cancel()
            elif run.spec.deadline_ms is not None and now_ms > run.spec.deadline_ms:
                run.expire()
