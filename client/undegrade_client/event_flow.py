"""The events of a job as a flow that survives broken connections."""

from __future__ import annotations

from undegrade_client.errors import ApiError, ConnectionFailed, UndegradeError
from undegrade_client.event_stream import EventParser
from undegrade_client.exchange import (
    CloseStream,
    Deadline,
    Emit,
    Flow,
    OpenStream,
    ReadChunk,
    Request,
    Response,
    Sleep,
    TransportFailure,
)
from undegrade_client.flows import Flows
from undegrade_client.retries import FINAL_CODES, RETRIED_STATUSES, pause_s, refusal_of, where

EMPTY_STREAMS = 3
"""So many streams without an event, one after the other, and the job is over: its last event is not kept any more."""
SILENCE_S = 40.0
"""The server sends at least a comment every 15 s."""


def events(flows: Flows, job_id: str, deadline: Deadline, after: str = "") -> Flow[None]:
    """Emit the events of a job, each once, until its last one.

    A new connection continues after the last event, by Last-Event-ID.

    Raises:
        ApiError: the job is not there, or the server refuses for another reason.
        ConnectionFailed: the server is away until the deadline.
    """
    settings, tries, empty, patience = flows.settings, 0, 0, deadline
    while True:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        headers.update({"Last-Event-ID": after} if after else {})
        request = Request("GET", f"/jobs/{job_id}/events", headers, timeout_s=min(SILENCE_S, deadline.left_s() or 1))
        parser, wait_s = EventParser(), None
        failure: UndegradeError = ConnectionFailed(f"{where(settings, request)}: the events stopped", job_id)
        ended = False
        try:
            head: Response = yield OpenStream(request)
            if head.status >= 400:
                failure = refusal_of(head)
                wait_s = _retry_after(failure)
            else:
                while (chunk := (yield ReadChunk())) is not None:
                    for event in parser.feed(chunk):
                        after, tries, empty = event.id or after, 0, 0
                        yield Emit(event)
                        if event.final:
                            yield CloseStream()
                            return
                    if deadline.left_s() <= 0:
                        break
                else:
                    ended = True
        except TransportFailure as error:
            failure = ConnectionFailed(f"{where(settings, request)}: {error}", job_id)
        yield CloseStream()
        tries, empty = tries + 1, empty + ended
        if tries == 1:
            patience = deadline.within(settings.outage_s)
        if empty >= EMPTY_STREAMS and (yield from flows.look(job_id, deadline)).over:
            return
        yield Sleep(pause_s(settings, patience, tries, wait_s or parser.retry_s, failure))


def _retry_after(failure: ApiError) -> float | None:
    """Return the seconds of a refusal that may end; raise one that does not."""
    if failure.status not in RETRIED_STATUSES or failure.code in FINAL_CODES:
        raise failure
    return failure.retry_after_s
