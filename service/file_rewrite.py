"""Rewrites the append-only file of an embedded Valkey after deletions, because it still holds what was deleted."""

import asyncio
import time

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

log = structlog.get_logger()
DELAY_S = 1.0
"""Deletions of this time share one rewrite."""
PAUSE_S = 30.0
"""Between two rewrites: each reads and writes everything that Valkey holds."""
BUSY_S = 1.0


class FileRewrite:
    """Asks for a rewrite at most every `pause_s`; requests in between share the next one."""

    def __init__(self, redis: "Redis", delay_s: float = DELAY_S, pause_s: float = PAUSE_S) -> None:
        self.redis, self.delay_s, self.pause_s = redis, delay_s, pause_s
        self._rewritten_s = -pause_s
        self._due: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Something has been deleted: rewrite the file soon."""
        if self._due is None or self._due.done():
            self._due = asyncio.create_task(self._rewrite())

    async def close(self) -> None:
        """Rewrite now what is still to be rewritten."""
        if self._due is not None and not self._due.done():
            self._due.cancel()
            await asyncio.gather(self._due, return_exceptions=True)
            await self._ask()

    async def _rewrite(self) -> None:
        pause_s = self._rewritten_s + self.pause_s - time.monotonic()
        await asyncio.sleep(max(self.delay_s, pause_s))
        while not await self._ask():
            await asyncio.sleep(BUSY_S)
        self._rewritten_s = time.monotonic()

    async def _ask(self) -> bool:
        """Returns False where another rewrite is running, which may have begun before the deletion."""
        try:
            await self.redis.bgrewriteaof()
        except ResponseError as error:
            return "in progress" not in str(error).lower()
        except RedisError as error:
            log.warning("rewrite.failed", error=type(error).__name__)
        return True
