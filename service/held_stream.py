"""Streams that hold a wait of their caller until they end, in whatever way: events, and archives that fill."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.authentication import Caller
from service.desk import Desk
from service.limits.wait_slots import Slot

EVENT_SCHEMA = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
"""Of each server-sent event; `data` is JSON."""
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""A proxy must pass on each part at once."""
LastEventId = Annotated[
    str, Header(pattern=r"^[0-9]{1,15}(-[0-9]{1,15})?$", description="Return only the events after this id.")
]


def event_docs(end: str) -> dict[str, Any]:
    """Return the OpenAPI response of a route that streams events until `end`."""
    return {"content": {"text/event-stream": {"schema": EVENT_SCHEMA}}, "description": f"Events until {end}"}


class HeldStream(StreamingResponse):
    """A stream that holds a wait of its caller."""

    def __init__(self, desk: Desk, slot: Slot | None, stream: AsyncIterator[str] | AsyncIterator[bytes],
                 media_type: str, headers: dict[str, str]) -> None:  # fmt: skip
        super().__init__(stream, media_type=media_type, headers={**UNBUFFERED, **headers})
        self._desk, self._slot = desk, slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._desk.wait_slots.release(self._slot)


async def held_stream(
    desk: Desk, caller: Caller, stream: AsyncIterator[str] | AsyncIterator[bytes],
    media_type: str = "text/event-stream", headers: dict[str, str] | None = None,
) -> HeldStream:  # fmt: skip
    """Return the response that streams to a caller.

    Raises:
        TooManyWaits: the quota of waits is used up, of the service or of the caller.
    """
    desk.waiters.check_quota(caller.owner)
    return HeldStream(desk, await desk.wait_slots.take(caller.account), stream, media_type, headers or {})
