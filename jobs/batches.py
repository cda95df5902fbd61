"""Batches: many jobs of one request.  A batch knows which image became which job; how far it is, its jobs say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.claims import Claim, taken
from jobs.errors import BatchWithdrawn
from jobs.job_list import LOOKS, Cursor
from jobs.lua_scripts import LuaScripts
from jobs.record import Failure, Outcome, TolerantModel
from jobs.state import State


class BatchEntry(TolerantModel):
    """What became of an image: a job, or the problem for which it was refused (RFC 9457)."""

    name: str | None = None
    job: str | None = None
    problem: dict[str, JsonValue] | None = None


@dataclass(frozen=True, kw_only=True)
class BatchItem:
    """An image of a batch, as it is now.

    Attributes:
        index: from 1, in the order of the request.
        state: None where the image was refused or its job is gone.
        ended_ms: of its end; that of the batch's begin where the image was refused or its job is gone; None before.
    """

    index: int
    entry: BatchEntry
    state: State | None
    ended_ms: int | None
    failure: Failure | None = None

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among those that have ended."""
        return self.ended_ms or 0, self.index


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch at one moment, `now_ms` by Redis' clock."""

    id: str
    owner: str | None
    created_ms: int
    now_ms: int
    items: Sequence[BatchItem]

    @property
    def over(self) -> bool:
        return all(item.ended_ms is not None for item in self.items)

    def ended(self, after: tuple[int, int] = (0, 0)) -> list[BatchItem]:
        """Returns the items that have ended after a place, in the order of their ends.

        Those of this very millisecond come with the next look: another one could still end before them.
        """
        ends = [item for item in self.items if item.ended_ms is not None and item.ended_ms < self.now_ms]
        return sorted((item for item in ends if item.place > after), key=lambda item: item.place)


@dataclass(frozen=True, kw_only=True)
class BatchPage:
    """`next`: where the next page begins, None at the end.  `missing`: the shards whose batches it cannot have."""

    batches: list[Batch]
    next: Cursor | None
    missing: tuple[int, ...] = ()


class Batches:
    """The batches in Redis.  Each method raises redis.exceptions.RedisError when Redis is away."""

    def __init__(self, redis: "Redis", scripts: LuaScripts) -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self._scripts = scripts

    async def seal(
        self, batch: str, owner: str | None, entries: Sequence[BatchEntry], keep_s: int, claim: Claim | None = None
    ) -> None:
        """Make the batch of the jobs that have been submitted with its id.

        Raises:
            ClaimTaken: an earlier request has taken the claim; there is no such batch.
            BatchWithdrawn: the batch was withdrawn meanwhile, with its jobs.
            NotReplicated: the batch is made, but a failover could lose it.
        """
        accepted, *rest = await self._scripts.run_replicated(
            "seal_batch", id=batch, owner=owner, items=[entry.model_dump_json() for entry in entries], keep_s=keep_s,
            claim=claim.arguments() if claim else None,
        )  # fmt: skip
        if claim and accepted == -3:
            raise taken(claim.digest, rest[0].decode())
        if accepted == -2:
            raise BatchWithdrawn(f"batch {batch} was withdrawn: its request stood still for too long")

    async def hold(self, batch: str) -> None:
        """Hold a batch open whose request is being read; without this, it counts as broken off after a minute."""
        await self._scripts.run("hold_batch", id=batch)

    async def broken_off(self, count: int) -> list[str]:
        """Returns the ids of up to `count` batches that were never made, and whose request has broken off."""
        seconds, micros = await self.redis.time()
        due = await self.redis.zrangebyscore(
            redis_keys.OPEN_BATCHES, "-inf", seconds * 1000 + micros // 1000, start=0, num=count
        )
        return [batch.decode() for batch in due]

    async def withdraw(self, batch: str, *, broken: bool = False) -> list[str]:
        """Keep a batch from being made.  Returns the ids of its jobs, which are to be forgotten then.

        A batch that is made stays, and the answer is empty.  Ask again until it is: then the batch is gone.

        Args:
            broken: only where its request counts as broken off now.
        """
        jobs = await self._scripts.run("withdraw_batch", id=batch, broken=broken or None)
        return [job.decode() for job in jobs]

    async def read(self, batch: str) -> Batch | None:
        """Returns a batch with the states of its jobs."""
        answer = await self._scripts.run("read_batch", id=batch)
        if not answer:
            return None
        now_ms, created, owner, rows = answer
        created_ms = int(created)
        items = [_item(index, created_ms, *row) for index, row in enumerate(rows, 1)]
        return Batch(id=batch, owner=owner.decode() or None, created_ms=created_ms, now_ms=now_ms, items=items)

    async def page(
        self, owner: str | None, count: int, since_ms: int | None = None, after: Cursor | None = None
    ) -> BatchPage:
        """Returns the next `count` batches of an owner (None: of all) after a cursor, newest first."""
        more, ms, last, ids = await self._scripts.run(
            "list_batches", owner=owner, since_ms=since_ms, before=after.arguments() if after else None, count=count,
            looks=LOOKS,
        )  # fmt: skip
        batches = [await self.read(batch.decode()) for batch in ids]  # one by one: each may have many images
        found = [batch for batch in batches if batch is not None]
        return BatchPage(batches=found, next=Cursor(int(ms), last.decode()) if more else None)

    async def forget(self, batch: str) -> None:
        """Remove a batch, not its jobs."""
        await self._scripts.run("forget_batch", id=batch)


def _item(
    index: int, created_ms: int, item: bytes, state: bytes, started_ms: bytes, ended_ms: bytes, outcome: bytes
) -> BatchItem:
    entry = BatchEntry.model_validate_json(item)
    if not state:
        return BatchItem(index=index, entry=entry, state=None, ended_ms=created_ms)
    known = State(state.decode())
    if known is State.RUNNING and not started_ms:  # a worker holds it, and has not begun
        known = State.QUEUED
    failure = Outcome.model_validate_json(outcome).failure if outcome else None
    return BatchItem(
        index=index, entry=entry, state=known, ended_ms=int(ended_ms) if ended_ms and known.over else None,
        failure=failure,
    )  # fmt: skip
