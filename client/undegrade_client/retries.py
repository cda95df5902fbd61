"""Sends a request again where that can help: after broken connections, 408, 429 and most 5xx.

Every try of a request has the same Idempotency-Key, so a job is queued once, however often the answer was lost.
"""

from __future__ import annotations

import email.utils
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from undegrade_client.codes import refusal
from undegrade_client.errors import ApiError, ConnectionFailed, UndegradeError, UnexpectedAnswer
from undegrade_client.exchange import Deadline, Flow, Request, Response, Send, Sleep, TransportFailure
from undegrade_client.settings import Settings

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
FINAL_CODES = frozenset({"job-failed", "wait-over", "conversion-failed"})
"""Codes with such a status that the same request meets again."""
WAITS_USED_UP = "too-many-waits"
"""This key's long polls are used up: ask again without a wait."""
Check = Callable[[Response], "str | None"]
"""Returns what is wrong with a response that claims success; None if nothing is."""


def send(
    settings: Settings,
    request: Request,
    deadline: Deadline,
    *,
    job_id: str | None = None,
    check: Check = lambda response: None,
    final_codes: frozenset[str] = FINAL_CODES,
) -> Flow[Response]:
    """Send a request until it succeeds, is refused for good, or the deadline passes.

    Raises:
        ApiError: the refusal, or the last one before the deadline.
        ConnectionFailed, UnexpectedAnswer: the last failure before the deadline.
    """
    tries, patience = 0, deadline
    while True:
        wait_s: float | None = None
        try:
            response: Response = yield Send(_within(request, deadline))
            failure = _failure(settings, request, response, check)
            if failure is None:
                return response
            if isinstance(failure, ApiError):
                if failure.status not in RETRIED_STATUSES or failure.code in final_codes:
                    raise failure
                wait_s = failure.retry_after_s
        except TransportFailure as error:
            failure = ConnectionFailed(f"{where(settings, request)}: {error}", job_id)
        tries += 1
        if tries == 1:
            patience = deadline.within(settings.outage_s)
        yield Sleep(pause_s(settings, patience, tries, wait_s, failure))


def _within(request: Request, deadline: Deadline) -> Request:
    """Return the request with time limits that end at the deadline, but leave a moment to a last try."""
    left_s = max(1.0, deadline.left_s())
    total_s = None if left_s == float("inf") else left_s
    return replace(request, timeout_s=min(request.timeout_s, left_s), total_s=total_s)


def _failure(settings: Settings, request: Request, response: Response, check: Check) -> UndegradeError | None:
    """Return the exception for a response.  One that another try may mend is retried, others are raised here."""
    if response.status >= 400:
        return refusal_of(response)
    if response.status >= 300:
        target = response.headers.get("location", "elsewhere")
        raise UnexpectedAnswer(f"{where(settings, request)} redirects to {target}. Give the client that URL.")
    problem = check(response)
    return None if problem is None else UnexpectedAnswer(f"{where(settings, request)}: {problem}")


def pause_s(settings: Settings, deadline: Deadline, tries: int, wait_s: float | None, failure: UndegradeError) -> float:
    """Return the seconds to wait before the next try.

    Raises:
        UndegradeError: the failure itself: the deadline leaves no time for another try.
    """
    left_s = deadline.left_s()
    if left_s <= 0 or (wait_s is not None and (wait_s > settings.max_retry_after_s or wait_s >= left_s)):
        raise failure
    ceiling_s = min(settings.max_retry_s, settings.first_retry_s * 2 ** min(tries - 1, 30))
    drawn_s = random.uniform(ceiling_s / 2, ceiling_s)
    if wait_s is not None:
        drawn_s = wait_s + random.uniform(0, min(1.0, wait_s / 10))
    return min(drawn_s, left_s)


def refusal_of(response: Response) -> ApiError:
    """Return the exception for a response that is an error."""
    try:
        problem: Any = json.loads(response.body)
    except ValueError:
        problem = None
    known = problem if isinstance(problem, dict) else {}
    if not known.get("request_id") and "x-request-id" in response.headers:
        known["request_id"] = response.headers["x-request-id"]
    return refusal(response.status, known, retry_after_s(response.headers.get("retry-after")))


def retry_after_s(value: str | None, now_s: Callable[[], float] = time.time) -> float | None:
    """Return the seconds of a Retry-After header, which has seconds or a date; None where it has neither."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now_s())
    except (TypeError, ValueError):
        return None


def json_object(response: Response) -> dict[str, Any]:
    """Return the body of a response that has to be a JSON object.

    Raises:
        UnexpectedAnswer: it is none, so the server is not undegrade.
    """
    try:
        body = json.loads(response.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise UnexpectedAnswer("the answer is not JSON as undegrade sends it. Is the URL that of its API?")
    return body


def where(settings: Settings, request: Request) -> str:
    """Return the method and the place of a request; a presigned URL loses its signature, which is a secret."""
    url = request.url if "://" in request.url else settings.server + request.url
    scheme, _, rest = url.partition("?")[0].rpartition("://")
    return f"{request.method} {scheme}://{rest.rpartition('@')[2]}"
