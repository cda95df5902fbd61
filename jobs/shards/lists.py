"""Lists of jobs and batches over several servers, with one cursor that stays right.

A cursor is a place in the order of all: millisecond, then id.  Each shard is asked for what comes after it.  A shard
that has looked at a bounded number only says how far; what other shards have beyond that place waits for the next page,
so that no page skips what a slower shard finds later.  Each shard has a clock of its own, so jobs of two shards are in
order as far as these clocks agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs import redis_keys
from jobs.batches import Batch, BatchEntry, Batches, BatchPage
from jobs.claims import Claim
from jobs.job_list import LOOKS, Cursor, Filter, JobList, Page
from jobs.record import JobRecord
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards

T = TypeVar("T")
Place = tuple[int, str]
"""The millisecond and the id of an entry; larger ones come first."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """What one shard has found: entries by their places, and the place where its next page begins."""

    entries: Sequence[tuple[Place, T]]
    next: Cursor | None


def merge(parts: Sequence[Part[T]], count: int) -> Part[T]:
    """Returns the first `count` entries of all parts up to the place that every part has reached."""
    limits = [_place(part.next) for part in parts if part.next is not None]
    reached = max(limits, default=None)
    entries = sorted((entry for part in parts for entry in part.entries), key=lambda entry: entry[0], reverse=True)
    known = [entry for entry in entries if reached is None or entry[0] >= reached]
    page = known[:count]
    if len(known) > count:
        return Part(page, Cursor(*page[-1][0]))
    if reached is not None:
        return Part(page, Cursor(*reached))
    return Part(page, None)


def _place(cursor: Cursor) -> Place:
    return cursor.ms, cursor.id or ""


class ShardedJobList(JobList):
    """The jobs of all shards that answer."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    async def page(self, wanted: Filter, count: int, after: Cursor | None = None, looks: int = LOOKS) -> Page:
        async def look(shard: Shard) -> Part[JobRecord]:
            page = await shard.queue.listing.page(wanted, count, after, looks)
            ids = [record.spec.id for record in page.records]
            times = await shard.redis.zmscore(redis_keys.JOBS, ids) if ids else []
            return Part(
                [
                    ((int(ms) if ms is not None else record.enqueued_ms, record.spec.id), record)
                    for ms, record in zip(times, page.records, strict=True)
                ],
                page.next,
            )

        found = await self.shards.ask(look)
        merged = merge([part for _, part in found], count)
        records = [record for _, record in merged.entries]
        return Page(records=records, next=merged.next, missing=_missing(self.shards, found))


class ShardedBatches(Batches):
    """The batches of all shards.  A batch and its jobs are on one shard, which its id names."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    async def seal(
        self, batch: str, owner: str | None, entries: Sequence[BatchEntry], keep_s: int, claim: Claim | None = None
    ) -> None:
        await self.shards.of(batch).queue.batches.seal(batch, owner, entries, keep_s, claim)

    async def hold(self, batch: str) -> None:
        await self.shards.of(batch).queue.batches.hold(batch)

    async def broken_off(self, count: int) -> list[str]:
        found = await self.shards.ask(lambda shard: shard.queue.batches.broken_off(count))
        return [batch for _, batches in found for batch in batches][:count]

    async def withdraw(self, batch: str, *, broken: bool = False) -> list[str]:
        return await self.shards.of(batch).queue.batches.withdraw(batch, broken=broken)

    async def read(self, batch: str) -> Batch | None:
        return await self.shards.of(batch).queue.batches.read(batch)

    async def page(
        self, owner: str | None, count: int, since_ms: int | None = None, after: Cursor | None = None
    ) -> BatchPage:
        async def look(shard: Shard) -> Part[Batch]:
            page = await shard.queue.batches.page(owner, count, since_ms, after)
            return Part([((batch.created_ms, batch.id), batch) for batch in page.batches], page.next)

        found = await self.shards.ask(look)
        merged = merge([part for _, part in found], count)
        batches = [batch for _, batch in merged.entries]
        return BatchPage(batches=batches, next=merged.next, missing=_missing(self.shards, found))

    async def forget(self, batch: str) -> None:
        await self.shards.of(batch).queue.batches.forget(batch)


def _missing(shards: Shards, found: Sequence[tuple[Shard, object]]) -> tuple[int, ...]:
    answered = {shard.number for shard, _ in found}
    return tuple(shard.number for shard in shards.all if shard.number not in answered)
