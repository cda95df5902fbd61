"""`GET /jobs/{id}/events`: the events of a job, as server-sent events."""

import json
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from redis.exceptions import RedisError

from jobs.queue import Event
from jobs.record import JobRecord
from service.authentication import AuthenticatedCaller
from service.desk import Desk
from service.held_stream import LastEventId, event_docs, held_stream
from service.job_view import job_url
from service.routes.dependencies import CurrentDesk, JobId, path_prefix, problem_responses

router = APIRouter(tags=["jobs"])
FINAL_EVENTS = ("completed", "failed", "canceled", "expired")
RETRY_LINE = "retry: 1000\n\n"


@router.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    responses={
        200: event_docs("the end of the job"),
        **problem_responses(401, 404, 410, 422, 429, 503),
    },
)
async def events(
    job_id: JobId,
    request: Request,
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
    last_event_id: LastEventId = "0-0",
) -> Response:
    """Stream all events of a job: first the past events, then each new event.  The stream ends with the job."""
    record = await desk.find(job_id, caller)
    return await held_stream(desk, caller, _stream(desk, record, last_event_id, job_url(job_id, path_prefix(request))))


async def _stream(desk: Desk, record: JobRecord, after: str, url: str) -> AsyncIterator[str]:
    """Yield the events after this id.  The stream survives an outage of Redis, which keeps the events."""
    job_id = record.spec.id
    with desk.waiters.register(job_id, record.spec.owner) as waiter:
        yield RETRY_LINE
        await waiter.ready()
        quiet_since_s = time.monotonic()
        over = False
        while not over and not desk.waiters.closed:
            new_events, over = await _new_events(desk, job_id, after)
            for event in new_events:
                after, quiet_since_s = event.id, time.monotonic()
                yield _format_event(event, _links(event, record, url))
            if not over:
                await waiter.wait(quiet_since_s + desk.settings.keepalive_s - time.monotonic())
            if time.monotonic() - quiet_since_s >= desk.settings.keepalive_s:
                quiet_since_s = time.monotonic()
                yield ": keep-alive\n\n"


async def _new_events(desk: Desk, job_id: str, after: str) -> tuple[list[Event], bool]:
    """Return the events after this id, and whether the job is over and no event can follow."""
    try:
        record = await desk.queue.record(job_id)  # before the events: a job's end and its last event come together
        events = await desk.queue.events(job_id, after)
    except RedisError:
        return [], False
    ended = any(event.type in FINAL_EVENTS for event in events)
    return events, ended or record is None or record.state.over


def _links(event: Event, record: JobRecord, url: str) -> dict[str, str]:
    """Return what the last event adds to its data: where the job is, and its result."""
    if event.type not in FINAL_EVENTS:
        return {}
    has_result = event.type == "completed" and record.spec.kind == "restore"
    return {"job_url": url, **({"result_url": f"{url}/result"} if has_result else {})}


def _format_event(event: Event, links: dict[str, str]) -> str:
    return f"id: {event.id}\nevent: {event.type}\ndata: {json.dumps({**event.data, **links})}\n\n"
