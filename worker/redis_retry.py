"""Repeats an action until Redis answers: a worker waits for Redis, and does not give up."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError

from jobs.backoff import Backoff
from worker.metrics import WorkerMetrics

log = structlog.get_logger()


class RedisRetry:
    """Calls an action again, with growing pauses, while it raises RedisError or OSError."""

    def __init__(self, metrics: WorkerMetrics, draining: asyncio.Event) -> None:
        self.metrics, self.draining = metrics, draining

    async def __call__(
        self, operation: str, action: Callable[[], Awaitable[object]], *, until_drain: bool = False
    ) -> None:
        """Run `action` until it succeeds; with `until_drain`, stop trying once the worker drains."""
        backoff = Backoff()
        while True:
            try:
                await action()
                return
            except (RedisError, OSError) as error:
                pause_s = backoff.next_s()
                self.metrics.redis_errors.inc()
                log.warning("redis.away", during=operation, error=str(error), again_in_s=pause_s)
                if until_drain and self.draining.is_set():
                    return
                await asyncio.sleep(pause_s)
