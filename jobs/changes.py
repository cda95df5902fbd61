"""The subscription to the changes of jobs, which notices in bounded time that its server has gone."""

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from jobs import redis_keys

QUIET_S = 5.0
"""After so long without a message, the server is asked for one; after as long again, it counts as gone."""


async def changes(redis: "Redis", quiet_s: float = QUIET_S) -> AsyncIterator[tuple[str, bool]]:
    """Yields each job that changes: (id, whether it has ended).

    The first item has an empty id: from then on, no change is missed.  After a connection that was replaced, there is
    such an item again.

    Raises:
        redis.exceptions.RedisError: the connection is lost, or the server has not answered for twice `quiet_s`.
    """
    client: Any = redis
    async with client.pubsub() as channel:
        await channel.subscribe(redis_keys.CHANGES)
        asked = False
        while True:
            message = await channel.get_message(timeout=quiet_s)
            if message is None and asked:
                raise RedisTimeout(f"the subscription got no answer for {quiet_s:g} s")
            asked = message is None
            if message is None:
                await channel.ping()
            elif message["type"] == "subscribe":
                yield "", True
            elif message["type"] == "message":
                job, _, over = message["data"].decode().partition(" ")
                yield job, over == "over"
