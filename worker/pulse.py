"""Measures the worker itself every second: that its loop runs, its clock, its jobs, and whether its engine can work."""

import asyncio
import time
from typing import Protocol

from redis.exceptions import RedisError

from jobs.end_tasks import run_together
from worker.engine_link import EngineLink
from worker.held_jobs import HeldJobs
from worker.metrics import WorkerMetrics
from worker.probes import Heartbeat

TICK_S = 1.0
CLOCK_S = 5.0
"""How often the clock is compared with Redis', and how long Redis may take to answer."""


class Clock(Protocol):
    """The queue, or the work on several servers."""

    async def clock_skew_s(self) -> float: ...


class Pulse:
    """Writes the gauges that no event of a job would update, and tells the probes that the loop runs.

    It never waits for Redis with the tick.
    """

    def __init__(
        self, queue: Clock, link: EngineLink, held: HeldJobs, metrics: WorkerMetrics, heartbeat: Heartbeat
    ) -> None:  # fmt: skip
        self.queue, self.link, self.held, self.metrics, self.heartbeat = queue, link, held, metrics, heartbeat

    async def run(self) -> None:
        """Measure until canceled."""
        await run_together(self._tick(), self._compare_clocks())

    async def _tick(self) -> None:
        while True:
            self.heartbeat.tick()
            self.measure(time.time())
            await asyncio.sleep(TICK_S)

    def measure(self, now_s: float) -> None:
        """Write the gauges of this moment; `now_s` is in seconds since 1970."""
        metrics = self.metrics
        metrics.last_tick.set(now_s)
        metrics.held.set(len(self.held))
        metrics.engine_ready.set(self.link.ready is not None)
        metrics.oldest_start.set(min((run.begun_at_s for run in self.held if run.begun_at_s is not None), default=0))

    async def _compare_clocks(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CLOCK_S):
                    self.metrics.clock_skew.set(await self.queue.clock_skew_s())
            except (RedisError, OSError, TimeoutError):
                pass  # other loops report that Redis is away
            await asyncio.sleep(CLOCK_S)
