"""The Redis of a command: one server, or several (jobs/shards).

A command gets a client for jobs.api_keys and jobs.webhook_secrets.  `queue_of` returns the queue of the same servers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from jobs.redis_client import open_redis
from jobs.shards.urls import is_sharded

if TYPE_CHECKING:
    from jobs.queue import Queue


@asynccontextmanager
async def open_servers(url: str, *, answer_s: float = 5.0, retries: int = 2) -> AsyncIterator[Any]:
    """Yields a client of one server, or jobs.shards.keys.KeyRecords of several; nothing is asked yet."""
    if not is_sharded(url):
        async with open_redis(url, answer_s=answer_s, retries=retries) as client:
            yield client
        return
    from jobs.shards.keys import KeyRecords  # only here: its imports take a while
    from jobs.shards.shards import Shards

    shards = Shards(url, open_client=lambda one: open_redis(one, answer_s=answer_s, retries=retries), quiet=True)
    try:
        yield KeyRecords(shards)
    finally:
        await shards.close()


async def refresh(client: Any) -> None:  # noqa: ANN401 - of `open_servers`
    """Ask several servers which of them answer.

    Raises:
        ShardAway: none of them does.
    """
    if shards := getattr(client, "shards", None):
        shards.read_file()
        await shards.check()
        _ = shards.up


def troubles(client: Any) -> list[str]:  # noqa: ANN401
    """Returns which of several servers do not answer, in sentences."""
    shards = getattr(client, "shards", None)
    return [f"{shard} is away: {shard.trouble}" for shard in shards.all if shard.trouble] if shards else []


async def copy_records(client: Any) -> None:  # noqa: ANN401
    """Copy the records of API keys to all of several servers; the service does it within seconds otherwise."""
    if hasattr(client, "shards"):
        with suppress(RedisError, OSError):
            await client.copy()


def queue_of(client: Any) -> "Queue":  # noqa: ANN401
    """Returns the queue of a client of `open_servers`."""
    from jobs.queue import Queue

    if not hasattr(client, "shards"):
        return Queue(client)
    from jobs.shards.queue import ShardedQueue

    return ShardedQueue(client.shards)
