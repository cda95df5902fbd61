"""Waits until replicas have a write, where an operator asks for that (`UNDEGRADE_REDIS_WAIT_REPLICAS`).

A failover loses what the old primary had written and no replica had received.  With N replicas to wait for, an accepted
job and a published result survive the failure of the primary and of N - 1 replicas.
"""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import NotReplicated

MAX_WAIT_S = 3.0
"""Shorter than a client waits for any answer."""


@dataclass(frozen=True, kw_only=True)
class Replication:
    """How many replicas must have a write before it counts, and how long to wait for them."""

    replicas: int = 0
    wait_s: float = 1.0

    def add_to(self, pipeline: Any) -> None:  # noqa: ANN401 - redis-py annotates for str and bytes clients at once
        """Add the commands that wait to a pipeline; the last answer is for `check`.

        WAIT waits for the last write of its own connection.  A message is a write that needs no memory, so that there
        is one even where a repeated script has changed nothing.
        """
        pipeline.publish(redis_keys.REPLICATED, "")
        pipeline.wait(self.replicas, round(1000 * self.wait_s))

    def check(self, reached: int) -> None:
        """Raises NotReplicated where fewer replicas than wanted have answered."""
        if reached < self.replicas:
            raise NotReplicated(
                f"{reached} of {self.replicas} replicas have the write after {self.wait_s:g} s; start replicas, or "
                "lower UNDEGRADE_REDIS_WAIT_REPLICAS"
            )

    async def confirm(self, redis: "Redis") -> None:
        """Return when the replicas have everything that was written until now.

        Raises:
            NotReplicated: they do not answer in time.
        """
        if self.replicas:
            client: Any = redis
            async with client.pipeline(transaction=False) as pipeline:
                self.add_to(pipeline)
                self.check((await pipeline.execute())[-1])


NO_REPLICATION = Replication()
