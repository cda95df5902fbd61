"""The JSON view and the metrics of the Redis servers of a service that has several."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from jobs.record import OperatorMark
from jobs.redis_health import RedisHealth, public_url, read_health
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards


class ShardBody(BaseModel):
    """One Redis server.

    `trouble` says why it cannot be used, and is null while it answers.  `drain`: an operator keeps new jobs away from
    it.  `queued` and `device_seconds` are those of its last check.  `keeps_keys`: it has the API keys, of which the
    others have copies.
    """

    number: int
    url: str
    trouble: str | None
    drain: OperatorMark | None
    queued: int
    device_seconds: float
    keeps_keys: bool
    redis: RedisHealth | None


async def shard_bodies(shards: Shards) -> list[ShardBody]:
    """Return all shards, by their numbers."""

    async def look(shard: Shard) -> RedisHealth:
        return await read_health(shard.redis, shard.url)

    found = {shard: health for shard, health in await shards.ask(look)}
    return [
        ShardBody(
            number=shard.number, url=public_url(shard.url), trouble=shard.trouble, drain=shard.drain,
            queued=sum(shard.load.queued.values()), device_seconds=round(shard.backlog_s, 1),
            keeps_keys=shard.role.startswith("home"), redis=found.get(shard),
        )
        for shard in shards.all
    ]  # fmt: skip


def shard_problems(shards: Shards, bodies: list[ShardBody]) -> list[str]:
    """Return what is wrong with the servers, in sentences."""
    settings = [
        f"Redis of shard {body.number}: {entry.problem}; {entry.remedy}"
        for body in bodies
        for entry in (body.redis.problems if body.redis else ())
    ]
    return [*shards.sentences(), *settings]


def shard_values(shards: Sequence[Shard]) -> dict[str, Mapping[tuple[str, ...], float]]:
    """Returns the metrics of each of several Redis servers; of one that is away what it said last."""
    return {
        "undegrade_shard_up": {(str(shard.number),): float(shard.trouble is None) for shard in shards},
        "undegrade_shard_drained": {(str(shard.number),): float(shard.drain is not None) for shard in shards},
        "undegrade_shard_jobs_queued": {(str(s.number),): float(sum(s.load.queued.values())) for s in shards},
        "undegrade_shard_backlog_device_seconds": {(str(shard.number),): shard.backlog_s for shard in shards},
    }
