"""Watches a batch: finds it for its caller, and waits for the ends of its jobs."""

import asyncio
import time
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from jobs.batches import Batch, BatchItem
from service.authentication import Caller
from service.batches.refusals import NoSuchBatch
from service.desk import Desk
from service.job_ids import created_ms
from service.refusals import Gone

SAME_MS_S = 0.005
"""An end of this very millisecond is looked at again: another one may come before it."""
PAUSE_S = 0.1
"""Between two looks at a batch: many jobs may end in that time."""


async def find_batch(desk: Desk, batch_id: str, caller: Caller) -> Batch:
    """Return a batch if this caller may see it.

    Raises:
        NoSuchBatch: it does not exist, or belongs to another key.
        Gone: by the age of its id, it may have existed and expired.
    """
    batch = await desk.queue.batches.read(batch_id)
    if batch is None:
        created = created_ms(batch_id)
        if created is not None and 0 < created <= (time.time() - desk.settings.keep_s) * 1000:
            raise Gone(f"batch {batch_id} has expired: it is kept as long as its jobs", hint="send the images again")
    if batch is None or not caller.may_see(batch.owner):
        raise NoSuchBatch(f"there is no batch {batch_id}")
    return batch


async def ends(
    desk: Desk, batch: Batch, after: tuple[int, int] = (0, 0), quiet_s: float = 3600.0
) -> AsyncIterator[tuple[Batch | None, list[BatchItem]]]:
    """Yield the images as they end, each once, until all have ended or the server stops.

    Yields:
        The batch as it was at that look, with the images that have ended since the last one; (None, []) after `quiet_s`
        seconds without an end.  It survives an outage of Redis.
    """
    jobs = [item.entry.job for item in batch.items if item.entry.job and item.ended_ms is None]
    with desk.waiters.register_all(jobs, batch.owner) as waiter:
        quiet_since_s = time.monotonic()
        await waiter.ready()  # a job that ended before wakes nobody
        while not desk.waiters.closed:
            latest = await _latest(desk, batch)
            if latest is not None:
                batch, new = latest, latest.ended(after)
                if new:
                    after, quiet_since_s = new[-1].place, time.monotonic()
                    yield batch, new
                if batch.over and all(item.place <= after for item in batch.items):
                    return
                if any(item.ended_ms is not None and item.ended_ms >= batch.now_ms for item in batch.items):
                    await asyncio.sleep(SAME_MS_S)
                    continue
            await asyncio.sleep(PAUSE_S)
            await waiter.wait(quiet_since_s + quiet_s - time.monotonic())
            if time.monotonic() - quiet_since_s >= quiet_s:
                quiet_since_s = time.monotonic()
                yield None, []


async def _latest(desk: Desk, batch: Batch) -> Batch | None:
    """Return the batch as it is now; one that was deleted has ended as it was known.  None while Redis is away."""
    try:
        if latest := await desk.queue.batches.read(batch.id):
            return latest
        now_ms = await desk.queue.part(batch.id).now_ms()
        return Batch(
            id=batch.id, owner=batch.owner, created_ms=batch.created_ms, now_ms=now_ms,
            items=[_gone(item, batch.created_ms) for item in batch.items],
        )  # fmt: skip
    except RedisError:
        return None


def _gone(item: BatchItem, created_ms: int) -> BatchItem:
    ended_ms = item.ended_ms if item.ended_ms is not None else created_ms
    return BatchItem(index=item.index, entry=item.entry, state=None, ended_ms=ended_ms)
