"""The JSON view of a batch."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from jobs.batches import Batch, BatchItem
from jobs.state import State
from service.job_body import ErrorBody
from service.job_view import job_url

ItemStatus = Literal["queued", "running", "succeeded", "failed", "canceled", "expired", "refused", "deleted"]


class BatchCounts(BaseModel):
    """How many images are in which state.  `refused`: they became no job; `deleted`: their jobs are gone."""

    total: int
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0
    refused: int = 0
    deleted: int = 0


class BatchItemBody(BaseModel):
    """An image of a batch.

    `index` counts from 1 in the order of the request, `name` is that of the caller's file. `error` says why it was
    refused, or why its job did not succeed.
    """

    index: int
    name: str | None
    status: ItemStatus
    job_id: str | None
    job_url: str | None
    result_url: str | None
    error: ErrorBody | None


class BatchSummary(BaseModel):
    """A batch in a list; `completed` means that each image has ended, in whatever way."""

    id: str
    status: Literal["running", "completed"]
    created_at: datetime
    counts: BatchCounts
    events_url: str
    results_url: str


class BatchBody(BatchSummary):
    """One batch; `completed` means that each image has ended, in whatever way."""

    items: list[BatchItemBody]


class BatchList(BaseModel):
    """A page of batches.  `next` is the cursor of the next page; null at the end.

    `missing_shards`: the numbers of Redis servers that do not answer; their batches are missing in this list.
    """

    batches: list[BatchSummary]
    next: str | None
    missing_shards: list[int] = []


def batch_url(batch_id: str, prefix: str = "") -> str:
    """Return the path of a batch."""
    return f"{prefix}/batches/{batch_id}"


def batch_body(batch: Batch, prefix: str = "") -> BatchBody:
    """Return the JSON view of a batch; `prefix` is the path under which a proxy exposes the service."""
    items = [item_body(item, prefix) for item in batch.items]
    return BatchBody(**dict(batch_summary(batch, prefix)), items=items)


def batch_summary(batch: Batch, prefix: str = "") -> BatchSummary:
    """Return the JSON view of a batch without its images."""
    url = batch_url(batch.id, prefix)
    return BatchSummary(
        id=batch.id,
        status="completed" if batch.over else "running",
        created_at=datetime.fromtimestamp(batch.created_ms / 1000, UTC),
        counts=counts(batch.items),
        events_url=f"{url}/events",
        results_url=f"{url}/results.zip",
    )


def counts(items: Iterable[BatchItem]) -> BatchCounts:
    """Return how many images are in which state."""
    states = Counter[str](status_of(item) for item in items)
    return BatchCounts(total=states.total(), **states)


def status_of(item: BatchItem) -> ItemStatus:
    """Return the state of an image in one word."""
    if item.entry.job is None:
        return "refused"
    return "deleted" if item.state is None else item.state.value


def item_body(item: BatchItem, prefix: str = "") -> BatchItemBody:
    """Return the JSON view of one image."""
    job, url = item.entry.job, job_url(item.entry.job, prefix) if item.entry.job else None
    has_result = item.state is State.SUCCEEDED
    return BatchItemBody(
        index=item.index, name=item.entry.name, status=status_of(item), job_id=job, job_url=url,
        result_url=f"{url}/result" if has_result else None, error=_error(item),
    )  # fmt: skip


def _error(item: BatchItem) -> ErrorBody | None:
    if problem := item.entry.problem:
        return ErrorBody(**{name: str(problem.get(name, "")) for name in ErrorBody.model_fields})
    return ErrorBody(**item.failure.model_dump()) if item.failure else None
