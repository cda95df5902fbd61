"""The refusals of a submission that the queue does not take: it is full, or a quota of the caller is used up."""

from jobs.backlog import Backlog
from jobs.errors import QueueFull, QuotaExceeded
from jobs.spec import JobSpec
from service.busy_refusals import QueueIsFull
from service.limits.request_limits import quota_refusal
from service.problems import retry_after
from service.refusals import Refusal

DEFAULT_RETRY_S = 10.0
"""Retry-After of a full queue while the seconds per job are unknown."""


def submission_refusal(error: QueueFull | QuotaExceeded, backlog: Backlog, max_queued: int, spec: JobSpec) -> Refusal:
    """Return the refusal of a job."""
    if isinstance(error, QuotaExceeded):
        pixels = spec.source.width_px * spec.source.height_px if spec.source else 0
        return quota_refusal(error, pixels, backlog.seconds_per_job)
    return queue_is_full(backlog, max_queued)


def queue_is_full(backlog: Backlog, max_queued: int) -> QueueIsFull:
    """Return the refusal of a full queue, with Retry-After from the measured seconds per job."""
    seconds = backlog.seconds_per_job
    excess = max(1, backlog.total - max_queued + 1)
    return QueueIsFull(
        f"{backlog.total} jobs are queued, the limit is {max_queued}",
        headers=retry_after(DEFAULT_RETRY_S if seconds is None else seconds * excess),
    )
