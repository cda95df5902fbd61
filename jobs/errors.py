"""What can go wrong between the service and the workers.

JobsError
├── SpecError       a job spec is not one of ours
├── QueueFull       as many jobs are in line as may be
├── DuplicateJob    the id is taken
├── RefusedJob      an RQ job that did not come through the API
└── StoreError      the blob store refused
    └── BlobMissing     there is no such blob (any more)
"""


class JobsError(Exception):
    """The root of this tree."""


class SpecError(JobsError):
    """A job spec is not one of ours."""


class QueueFull(JobsError):
    """As many jobs are in line as may be."""

    def __init__(self, message: str, queued: int) -> None:
        super().__init__(message)
        self.queued = queued


class DuplicateJob(JobsError):
    """The id is taken."""


class RefusedJob(JobsError):
    """An RQ job that did not come through the API; `reason` is oversized, not-json, function-not-listed or callback."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(JobsError):
    """The blob store refused."""


class BlobMissing(StoreError):
    """There is no such blob (any more)."""
