"""One of several Redis servers: whether it answers, whether it takes new jobs, and how much work it has."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from jobs import redis_keys
from jobs.device_backlog import ASSUMED_JOB_S, backlog_device_s, work_of_a_job_s
from jobs.errors import ShardAway
from jobs.lua_scripts import LuaScripts
from jobs.queue import Queue
from jobs.record import OperatorMark

log = structlog.get_logger()
CHECK_S = 1.0
ANSWER_S = 3.0
"""How long a server may take for an answer."""
MAX_LATE = 2
"""A server that has been too slow so often, one after the other, counts as away.  One that refuses does so at once."""
BUNDLES_S = 5.0
"""How often the bundles of the workers are read: each API process does so on each server."""
NOT_ASKED = "it has not answered yet"


@dataclass(frozen=True, kw_only=True)
class Load:
    """The work of a shard at its last check.

    Attributes:
        device_s: of all its jobs, as jobs.device_backlog counts them.
        queued: jobs by bundle.
        stored_bytes: of all its images.
        job_s: what a new job counts until the next check.
        full: so little memory is left that the server refuses new jobs.
    """

    device_s: float = 0.0
    queued: dict[str, int] = field(default_factory=dict)
    stored_bytes: int = 0
    job_s: float = ASSUMED_JOB_S
    full: bool = False


class Shard:
    """A server with its number.

    Attributes:
        trouble: why it cannot be used; None while it answers.
        seen: whether it has ever answered.
        drain: an operator keeps new jobs away from it.
        role: 'home 3' or 'copy 3' of the records of API keys (jobs.shards.keys); "" before it has one.
    """

    def __init__(self, number: int, url: str, redis: "Redis", queue: Queue, quiet: bool = False) -> None:
        self._quiet = quiet
        self.number, self.url, self.queue, self.scripts = number, url, queue, LuaScripts(redis)
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self.trouble: str | None = NOT_ASKED
        self.seen = False
        self.drain: OperatorMark | None = None
        self.role = ""
        self.load = Load()
        self._new_s, self._new_jobs, self._late = 0.0, 0, 0
        self._bundles: tuple[float, set[str]] = (0.0, set())

    def __repr__(self) -> str:
        return f"shard {self.number}"

    @property
    def takes_jobs(self) -> bool:
        """Whether new jobs may go there."""
        return self.trouble is None and self.drain is None

    @property
    def backlog_s(self) -> float:
        """Seconds of devices for its jobs, those included that this process has added since the last check."""
        return self.load.device_s + self._new_s

    def queued(self, bundle: str) -> int:
        """Returns the queued jobs of a bundle at the last check, with those that this process has added since."""
        return self.load.queued.get(bundle, 0) + self._new_jobs

    def added(self) -> None:
        """A job was submitted there."""
        self._new_s, self._new_jobs = self._new_s + self.load.job_s, self._new_jobs + 1

    def checked(self) -> "Shard":
        """Returns the shard.

        Raises:
            ShardAway: it does not answer.
        """
        if self.trouble is not None:
            raise ShardAway(f"{self} is away: {self.trouble}")
        return self

    def failed(self, error: BaseException) -> None:
        """Take the server for away until the next check: it has just failed, or was too slow once more."""
        self._late = self._late + 1 if isinstance(error, TimeoutError) else MAX_LATE
        if self._late >= MAX_LATE or not self.seen:
            self._say(f"it does not answer ({type(error).__name__})")

    def _say(self, trouble: str | None) -> None:
        if self._quiet:
            pass
        elif trouble is not None and self.trouble in (None, NOT_ASKED):
            log.warning("shard.away", shard=self.number, why=trouble)
        elif trouble is None and (self.trouble is not None or not self.seen):
            log.info("shard.answers", shard=self.number)
        self.trouble = trouble

    async def check(self, bundle: str) -> None:
        """Ask the server for its state.  Never raises for a server that is away.

        Args:
            bundle: the default bundle of the service, whose work counts before it has a worker.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                other = await self._read_marks()
                load = await self._read_load(bundle) if other is None else self.load
        except (RedisError, OSError, TimeoutError) as error:
            self.failed(error)
            return
        self._say(other)
        self._late = 0
        self.seen = self.seen or other is None
        self.load, self._new_s, self._new_jobs = load, 0.0, 0

    async def _read_marks(self) -> str | None:
        """Read what operators and processes have noted there.  Returns why this is not our server; None if it is."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.set(redis_keys.SHARD_NUMBER, self.number, nx=True)
            pipeline.get(redis_keys.SHARD_NUMBER)
            pipeline.get(redis_keys.SHARD_DRAINED)
            pipeline.get(redis_keys.SHARD_ROLE)
            _, number, drain, role = await pipeline.execute(raise_on_error=False)  # a full one refuses the first
        for answer in (number, drain, role):
            if isinstance(answer, Exception):
                raise answer
        if number is not None and int(number) != self.number:
            return f"its server is shard {int(number)}, not {self.number}: give each URL its own ?shard=N"
        self.drain = OperatorMark.model_validate_json(drain) if drain else None
        self.role = role.decode() if role else ""
        return None

    async def _read_load(self, default: str) -> Load:
        device_s, queued, works = 0.0, {}, []
        until_s, bundles = self._bundles
        if time.monotonic() >= until_s:
            bundles = await self.queue.workers.bundles()
            self._bundles = time.monotonic() + BUNDLES_S, bundles
        for bundle in sorted({default, *bundles}):
            line = await self.queue.line(bundle)
            device_s += backlog_device_s(line)
            queued[bundle] = sum(line.queued.values())
            works += [work for work in [work_of_a_job_s(line.recent_ends)] if work]
        job_s = sum(works) / len(works) if works else ASSUMED_JOB_S
        stored = await self.queue.stored_bytes()
        return Load(
            device_s=device_s, queued=queued, stored_bytes=stored, job_s=job_s, full=await self._memory_is_full()
        )

    async def _memory_is_full(self) -> bool:
        try:
            info = await self.redis.info("memory")
        except ResponseError:  # a managed Redis may not tell
            return False
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        return bool(limit) and used > limit * redis_keys.MEMORY_PERCENT_FOR_SUBMISSIONS / 100

    async def set_drain(self, mark: OperatorMark | None) -> None:
        """Keep new jobs away from the server, or let them come again (None)."""
        try:
            if mark is None:
                await self.redis.delete(redis_keys.SHARD_DRAINED)
            else:
                await self.redis.set(redis_keys.SHARD_DRAINED, mark.model_dump_json(), nx=True)
        except ResponseError as error:
            raise ShardAway(f"{self} refuses the order: {error}") from error
        await self._read_marks()
