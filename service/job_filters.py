"""The filters of `GET /jobs` and `GET /batches`, and what an operator sees of the jobs of others."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, WithJsonSchema

from jobs.job_list import Filter
from jobs.labels import check_label
from jobs.record import JobRecord
from jobs.state import State
from service.authentication import Caller
from service.refusals import Forbidden

CURSOR_PATTERN = r"^[0-9]{1,15}(-[0-9a-f]{32})?$"


def _label(text: str) -> str:
    key, colon, value = text.partition(":")
    if not colon:
        raise ValueError("expected key:value")
    check_label(key, value)
    return text


Label = Annotated[
    str, AfterValidator(_label), WithJsonSchema({"type": "string", "pattern": r"^[a-z0-9._-]{1,63}:[ -~]{0,256}$"})
]
"""A label as key:value; a value may hold further colons, and other letters than those of ASCII, too."""


def _date_time(text: object) -> object:
    """Refuse what pydantic takes beside RFC 3339: seconds since 1970, a day, numbers with a point."""
    if isinstance(text, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", text):
        raise ValueError("expected a time of RFC 3339, such as 2026-11-27T14:00:00Z")
    return text


DateTime = Annotated[
    AwareDatetime, BeforeValidator(_date_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A time as RFC 3339 writes it."""
Since = Annotated[DateTime | None, Query(description="Only those that were created then or later (RFC 3339).")]
Owner = Annotated[
    str | None, Query(max_length=64, description="Only those of this API key, by its id. Needs an admin key.")
]
PageCursor = Annotated[str | None, Query(pattern=CURSOR_PATTERN, description="`next` of the previous page.")]


def wanted_jobs(
    caller: Caller, owner: str | None, state: State | None, labels: Iterable[str], since: datetime | None,
    batch: str | None = None,
) -> Filter:  # fmt: skip
    """Return the jobs that a caller may list and asks for.

    Raises:
        Forbidden: it asks for jobs of another key without an admin key.
    """
    pairs = [(key, value) for key, _, value in (label.partition(":") for label in labels)]
    owner = listed_owner(caller, owner)
    return Filter(owner=owner, state=state, labels=pairs, since_ms=milliseconds(since), batch=batch)


def listed_owner(caller: Caller, owner: str | None) -> str | None:
    """Return the owner whose jobs or batches a caller may list, None for those of all.

    Raises:
        Forbidden: it asks for those of another key without an admin key.
    """
    if caller.sees_system:
        return owner
    if owner not in (None, caller.owner):
        raise Forbidden("owner: the jobs of another API key")
    return caller.owner


def milliseconds(since: datetime | None) -> int | None:
    """Return a time as milliseconds since 1970."""
    return None if since is None else int(since.timestamp() * 1000)


def shown(record: JobRecord, caller: Caller) -> JobRecord:
    """Return what a caller sees of a job in a list: an operator sees the jobs of others without their prompts."""
    if caller.may_see(record.spec.owner):
        return record
    controls = record.spec.controls.model_copy(update={"prompt": None})
    return record.model_copy(update={"spec": record.spec.model_copy(update={"controls": controls})})
