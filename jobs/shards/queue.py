"""The queue over several servers, with the interface of `jobs.queue.Queue` for the service and for operators.

What has an id goes to the shard that the id names.  What has none is asked of all shards that answer, at the same time.
Workers do not use it: they lease from the queue of each shard (worker/shard_work.py).
"""

import asyncio
import copy
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.backlog import Backlog
from jobs.blob_store import Blob
from jobs.claims import Claim, holder
from jobs.errors import QueueFull
from jobs.forecast import Forecast, LineSnapshot
from jobs.hooks import Hooks
from jobs.queue import Event, Queue
from jobs.quotas import NO_QUOTAS, Quotas
from jobs.record import Failure, JobRecord
from jobs.request_context import NO_REQUEST, RequestContext
from jobs.shards.keys import KeyRecords
from jobs.shards.lists import ShardedBatches, ShardedJobList
from jobs.shards.merged import ShardedCounters, ShardedPauses, ShardedWorkers, merged_backlog, merged_line
from jobs.shards.numbers import shard_of
from jobs.shards.quotas import ShardedQuotas
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards
from jobs.spec import JobSpec, Lane
from jobs.state import State

OWNER_BYTES_S = 1.0
"""How long the bytes that an API key has on other shards are remembered."""
MAX_OWNERS = 10_000
OWN_QUEUE = "a worker, and the housekeeping, use the queue of each shard: `parts`"


class ShardedQueue(Queue):
    """Jobs on several servers.  A method that needs a shard which is away raises ShardAway, a RedisError."""

    def __init__(self, shards: Shards) -> None:
        self.shards, self.storage, self.replication = shards, None, shards.replication
        self.records = KeyRecords(shards)
        self.workers, self.counters = ShardedWorkers(shards), ShardedCounters(shards)
        self._quotas = self.quotas = ShardedQuotas(shards)
        self.pauses = ShardedPauses(shards)
        self.listing, self.batches = ShardedJobList(shards), ShardedBatches(shards)
        self._owner_bytes: dict[str, tuple[float, dict[int, int]]] = {}

    @property
    def redis(self) -> NoReturn:
        raise AttributeError(f"there are several servers; use part(id).redis, parts() or keys: {OWN_QUEUE}")

    @property
    def keys(self) -> Any:  # noqa: ANN401 - it has the methods of a Redis that keys need
        return self.records

    def place(self, claim: Claim | None = None) -> int:
        """Returns the shard for a new id: the one with the least backlog, or that of the claim.

        A request with an Idempotency-Key goes where its repetition looks first, and its claim lives with its job.

        Raises:
            ShardAway: no shard takes new jobs, or that of the claim does not answer.
        """
        chosen = self.shards.least_loaded() if claim is None else self.shards.first_taker(claim.name)
        return chosen.number

    def part(self, an_id: str) -> Queue:
        return self.shards.of(an_id).queue

    def parts(self) -> Sequence[Queue]:
        return [shard.queue for shard in self.shards.up]

    async def for_each_part(self, work: Callable[[int, Queue], Coroutine[Any, Any, None]]) -> None:
        await self.shards.for_each(lambda shard: work(shard.number, shard.queue))

    def shard_number(self, an_id: str) -> int:
        return shard_of(an_id)

    async def claim_holder(self, claim: Claim) -> tuple[str, str] | None:
        """Returns who has taken a claim.

        It is looked for on all shards: before a shard was added or drained, the claim went to another one.

        Raises:
            ShardAway: the shard does not answer on which the claim would be taken now.
        """
        self.shards.first_taker(claim.name)
        found = await self.shards.ask(lambda shard: holder(shard.redis, claim.name))
        self.shards.first_taker(claim.name)  # it may have failed meanwhile
        return next((known for _, known in found if known is not None), None)

    async def reserve(self, spec: JobSpec) -> None:
        shard = self.shards.of(spec.id)
        await (await self._with_limits(shard, spec.owner)).reserve(spec)

    async def unreserve(self, *jobs: str) -> None:
        for shard, ids in self._by_shard(jobs).items():
            await shard.checked().queue.unreserve(*ids)

    async def stored_bytes(self) -> int:
        return sum(count for _, count in await self.shards.ask(lambda shard: shard.queue.stored_bytes()))

    async def submit(
        self, spec: JobSpec, max_queued: int, blob: Blob | None = None, request: RequestContext = NO_REQUEST,
        quotas: Quotas = NO_QUOTAS, hooks: Hooks | None = None, claim: Claim | None = None,
    ) -> int:  # fmt: skip
        """Add a job on the shard that its id names.

        `max_queued` is of all shards together; what the others have is known from their last check.
        """
        shard = self.shards.of(spec.id)
        others = sum(other.queued(spec.bundle) for other in self.shards.all if other is not shard)
        part = await self._with_limits(shard, spec.owner)
        async with self._quotas.submission(spec, quotas):
            try:
                queued = await part.submit(
                    spec, max(0, max_queued - others), blob, request, NO_QUOTAS, hooks, claim
                )  # fmt: skip
            except QueueFull as error:
                total = error.queued + others
                raise QueueFull(f"got {total} queued jobs, expected fewer than {max_queued}", total) from None
        shard.added()
        return queued + others

    async def _with_limits(self, shard: Shard, owner: str | None) -> Queue:
        """Returns the queue of a shard, with the room that the other shards leave to the owner."""
        storage = shard.queue.storage
        if storage is None or owner is None:
            return shard.queue
        part = copy.copy(shard.queue)
        part.storage = replace(storage, owner_elsewhere=await self._bytes_elsewhere(shard, owner))
        return part

    async def _bytes_elsewhere(self, shard: Shard, owner: str) -> int:
        known_until_s, by_shard = self._owner_bytes.get(owner, (0.0, {}))
        if time.monotonic() >= known_until_s:
            found = await self.shards.ask(lambda one: one.redis.hget(redis_keys.STORED_TOTALS, owner))
            by_shard = {one.number: int(count or 0) for one, count in found}
            if len(self._owner_bytes) >= MAX_OWNERS:
                self._owner_bytes.clear()
            self._owner_bytes[owner] = time.monotonic() + OWNER_BYTES_S, by_shard
        return sum(count for number, count in by_shard.items() if number != shard.number)

    def _by_shard(self, ids: Sequence[str]) -> dict[Shard, list[str]]:
        found: dict[Shard, list[str]] = {}
        for each in ids:
            found.setdefault(self.shards.numbered(shard_of(each)), []).append(each)
        return found

    async def cancel(self, job: str, keep_s: int | None = None, spec: JobSpec | None = None) -> State | None:
        return await self.part(job).cancel(job, keep_s, spec)

    async def forget(self, *jobs: str) -> int:
        return sum([await shard.checked().queue.forget(*ids) for shard, ids in self._by_shard(jobs).items()])

    async def purge(self, jobs: Mapping[str, JobSpec | None], cause: Failure) -> list[str]:
        ended: list[str] = []
        for shard, ids in self._by_shard(list(jobs)).items():
            ended += await shard.checked().queue.purge({job: jobs[job] for job in ids}, cause)
        return ended

    async def expire(self) -> list[str]:
        found = await self.shards.ask(lambda shard: shard.queue.expire())
        return [job for _, ids in found for job in ids]

    async def record(self, job: str) -> JobRecord | None:
        return await self.part(job).record(job)

    async def record_with_result(self, spec: JobSpec) -> tuple[JobRecord | None, bytes | None]:
        return await self.part(spec.id).record_with_result(spec)

    async def forecast(self, spec: JobSpec) -> Forecast | None:
        """Returns where a job stands in the line of its shard."""
        return await self.part(spec.id).forecast(spec)

    async def line(
        self, bundle: str, lane: Lane = "standard", job: str = "", owner: str | None = None
    ) -> LineSnapshot:  # fmt: skip
        if job:
            return await self.part(job).line(bundle, lane, job, owner)
        lines = await self.shards.ask(lambda shard: shard.queue.line(bundle, lane, owner=owner))
        return merged_line([line for _, line in lines])

    async def backlog(self, bundle: str) -> Backlog:
        return merged_backlog([one for _, one in await self.shards.ask(lambda shard: shard.queue.backlog(bundle))])

    async def events(self, job: str, after: str = "0-0") -> list[Event]:
        return await self.part(job).events(job, after)

    async def now_ms(self) -> int:
        return max(now for _, now in await self.shards.ask(lambda shard: shard.queue.now_ms()))

    async def clock_skew_s(self) -> float:
        skews = [skew for _, skew in await self.shards.ask(lambda shard: shard.queue.clock_skew_s())]
        return max(skews, key=abs)

    async def lease(self, *words: Any, **named: Any) -> NoReturn:  # noqa: ANN401
        raise NotImplementedError(OWN_QUEUE)

    renew = report = commit = release = release_unheld = reclaim = forget_expired = wait_for_work = lease


async def open_sharded(shards: Shards) -> ShardedQueue:
    """Returns the queue after the first check of all servers.  Where that is possible, the keys are copied, too."""
    await shards.check()
    queue = ShardedQueue(shards)
    with suppress(RedisError, OSError):
        async with asyncio.timeout(5):
            await queue.records.copy()
    return queue
