"""The events of a batch: one for each image that ends, and a last one."""

import json
from collections.abc import AsyncIterator

from jobs.batches import Batch
from service.batches.view import counts, item_body
from service.batches.watch import ends
from service.desk import Desk

RETRY_LINE = "retry: 1000\n\n"


async def event_stream(desk: Desk, batch: Batch, last_event_id: str, prefix: str) -> AsyncIterator[str]:
    """Yield the events after this id.  An id is the millisecond and the number of an image that ended."""
    millisecond, _, number = last_event_id.partition("-")
    after = (int(millisecond), int(number or 0))
    yield RETRY_LINE
    async for latest, new in ends(desk, batch, after, desk.settings.keepalive_s):
        if latest is None:
            yield ": keep-alive\n\n"
            continue
        batch = latest
        for item in new:
            after = item.place
            data = {**item_body(item, prefix).model_dump(), "counts": counts(batch.items).model_dump()}
            yield _event(after, "item", data)
    last = max((item.place for item in batch.items), default=(batch.created_ms, 0))
    final = (last[0], len(batch.items) + 1)
    if batch.over and after < final:
        yield _event(final, "completed", {"counts": counts(batch.items).model_dump()})


def _event(place: tuple[int, int], kind: str, data: dict[str, object]) -> str:
    return f"id: {place[0]}-{place[1]}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
