"""Lists jobs, newest first, with filters.  Each call looks at a bounded number of jobs, however many there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.lua_scripts import LuaScripts
from jobs.record import JobRecord, readable_records
from jobs.spec import LANES
from jobs.state import State

LOOKS = 2000
"""Jobs that one call looks at: only where several filters fit many jobs each, and few together."""
INDEXED_AT_ONCE = 200
"""Jobs that one call compares with the index by state: less than two milliseconds of Redis."""
CALLS_AT_ONCE = 20


@dataclass(frozen=True)
class Cursor:
    """The place of a job, or a batch, in its list; `id` None stands for all of the millisecond."""

    ms: int
    id: str | None = None

    def __str__(self) -> str:
        return f"{self.ms}-{self.id}" if self.id else str(self.ms)

    def arguments(self) -> list[int | str]:
        """Returns `before` of the scripts."""
        return [self.ms, *([self.id] if self.id else [])]


def read_cursor(text: str) -> Cursor:
    """Returns the cursor that `str` wrote; earlier versions wrote the millisecond only."""
    ms, _, job = text.partition("-")
    return Cursor(int(ms), job or None)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which jobs: those of an owner (None: of all), in a state, with all of these labels, of a batch, since a
    millisecond."""

    owner: str | None = None
    state: State | None = None
    labels: Sequence[tuple[str, str]] = ()
    since_ms: int | None = None
    batch: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """`next`: where the next page begins, None at the end.  A page may have fewer jobs than asked for, and a next one:
    then the call has looked at LOOKS jobs of which few fit.  `missing`: the shards whose jobs it cannot have."""

    records: list[JobRecord]
    next: Cursor | None
    missing: tuple[int, ...] = ()


class JobList:
    """The indexes of the jobs: of all, of each owner, and those of scripts/labels.lua and scripts/states.lua."""

    def __init__(self, redis: "Redis", scripts: LuaScripts) -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self._scripts = scripts

    async def page(self, wanted: Filter, count: int, after: Cursor | None = None, looks: int = LOOKS) -> Page:
        """Returns the next `count` jobs after a cursor.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        more, ms, last, ids = await self._scripts.run(
            "list_jobs", owner=wanted.owner, labels=[list(label) for label in wanted.labels],
            state=wanted.state.value if wanted.state else None, since_ms=wanted.since_ms, batch=wanted.batch,
            before=after.arguments() if after else None, count=count, looks=looks,
        )  # fmt: skip
        async with self.redis.pipeline(transaction=False) as pipeline:
            for job in ids:
                pipeline.hgetall(redis_keys.JOB + job.decode())
            rows = await pipeline.execute()
        return Page(records=readable_records(rows), next=Cursor(int(ms), last.decode()) if more else None)

    async def index_states(self) -> bool:
        """Bring the index by state up to date with what processes of earlier versions have done.

        Returns whether there is more to do: one call compares a limited number of jobs.
        """
        for _ in range(CALLS_AT_ONCE):
            if not await self._scripts.run("index_states", count=INDEXED_AT_ONCE, lanes=list(LANES)):
                return False
        return True
