"""Lanes that an operator has paused: they accept jobs, and no worker leases one, until the lane is resumed.

A pause is of a lane in every bundle.  scripts/lease.lua looks it up in the same step in which it leases.

Each method raises redis.exceptions.RedisError when Redis is away.
"""

import time
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import UnknownName
from jobs.lua_scripts import LuaScripts
from jobs.nearest_name import unknown_name
from jobs.record import OperatorMark
from jobs.spec import LANES, Lane


class LanePauses:
    """The paused lanes, with when and by whom."""

    def __init__(self, redis: "Redis", scripts: LuaScripts | None = None) -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self._scripts = scripts or LuaScripts(redis)

    async def paused(self) -> dict[Lane, OperatorMark]:
        """Returns the paused lanes, in their order."""
        marks = await self.redis.hgetall(redis_keys.PAUSED)
        return {
            lane: OperatorMark.model_validate_json(marks[lane.encode()]) for lane in LANES if lane.encode() in marks
        }

    async def pause(self, lane: str, by: str) -> OperatorMark:
        """Pause a lane.  Returns the mark of the first pause, where there is one already.

        Raises:
            UnknownName: there is no such lane.
        """
        known = known_lane(lane)
        mark = OperatorMark(since_ms=time.time_ns() // 10**6, by=by)
        await self.redis.hsetnx(redis_keys.PAUSED, known, mark.model_dump_json())
        return (await self.paused()).get(known, mark)

    async def resume(self, lane: str) -> bool:
        """Resume a lane, and wake idle workers.  Returns whether it was paused.

        Raises:
            UnknownName: there is no such lane.
        """
        known = known_lane(lane)
        queues = [
            {"name": f"{bundle}.{known}", "bundle": bundle}
            for bundle in {bundle for bundle, other in await queues_in_use(self.redis) if other == known}
        ]
        return bool(await self._scripts.run("resume_lane", lane=known, queues=queues))


def known_lane(name: str) -> Lane:
    """Returns the lane of this name.

    Raises:
        UnknownName: there is none.
    """
    for lane in LANES:
        if lane == name:
            return lane
    raise UnknownName(unknown_name("lane", name, LANES))


async def queues_in_use(redis: Any) -> list[tuple[str, Lane]]:  # noqa: ANN401 - the client answers in bytes
    """Returns bundle and lane of every queue of ours that has ever had a job."""
    names = sorted(key.decode().removeprefix(redis_keys.RQ_QUEUE) for key in await redis.smembers(redis_keys.RQ_QUEUES))
    parts = [name.rpartition(".") for name in names]
    return [(bundle, lane) for bundle, _, last in parts for lane in LANES if bundle and lane == last]
