"""`GET /jobs/{id}/events`: what happens to a job, as server-sent events."""

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError

from jobs.queue import Event
from jobs.record import JobRecord
from service.authentication import Guarded
from service.desk import Desk
from service.routes.dependencies import AtDesk, JobId, problems

router = APIRouter(tags=["jobs"])
ENDS = ("completed", "failed", "canceled", "expired")
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_LINE = "retry: 1000\n\n"


@router.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events until the job's end"},
        **problems(401, 404, 410, 422, 429, 503),
    },
)
async def events(
    job_id: JobId,
    desk: AtDesk,
    caller: Guarded,
    last_event_id: Annotated[
        str, Header(pattern=r"^\d{1,15}-\d{1,15}$", description="Replays what came after.")
    ] = "0-0",
) -> Response:
    """All events of a job so far, then each as it happens; the stream ends with the job."""
    record = await desk.find(job_id, caller)
    desk.wakes.check(caller.owner)
    return StreamingResponse(_stream(desk, record, last_event_id), media_type="text/event-stream", headers=HEADERS)


async def _stream(desk: Desk, record: JobRecord, after: str) -> AsyncIterator[str]:
    """Outlives Redis' absences: what was missed is in the job's stream."""
    job_id = record.spec.id
    with desk.wakes.bell(job_id, record.spec.owner) as bell:
        yield RETRY_LINE
        quiet_since_s = time.monotonic()
        over = False
        while not over and not desk.wakes.closed:
            news, over = await _news(desk, job_id, after)
            for event in news:
                after, quiet_since_s = event.id, time.monotonic()
                yield _written(event)
            if not over:
                await bell.wait(quiet_since_s + desk.settings.keepalive_s - time.monotonic())
            if time.monotonic() - quiet_since_s >= desk.settings.keepalive_s:
                quiet_since_s = time.monotonic()
                yield ": keep-alive\n\n"


async def _news(desk: Desk, job_id: str, after: str) -> tuple[list[Event], bool]:
    """What came after, and whether nothing more will."""
    try:
        record = await desk.queue.record(job_id)  # first: its end comes with its last event
        news = await desk.queue.events(job_id, after)
    except RedisError:
        return [], False
    ended = any(event.type in ENDS for event in news)
    return news, ended or record is None or record.state.over


def _written(event: Event) -> str:
    return f"id: {event.id}\nevent: {event.type}\ndata: {json.dumps(event.data)}\n\n"
