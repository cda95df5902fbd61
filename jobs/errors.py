"""The errors of this package.

JobsError
├── SpecError       a job spec is not valid
├── QueueFull       the bundle has too many queued jobs
├── DuplicateJob    there is a job with this id
├── RefusedJob      an RQ job did not come through the API
└── StoreError      the blob store failed
    └── BlobMissing     there is no such blob, or it has expired
"""


class JobsError(Exception):
    """The root of this tree."""


class SpecError(JobsError):
    """A job spec is not valid."""


class QueueFull(JobsError):
    """The bundle has too many queued jobs; `queued` says how many."""

    def __init__(self, message: str, queued: int) -> None:
        super().__init__(message)
        self.queued = queued


class DuplicateJob(JobsError):
    """There is a job with this id."""


class RefusedJob(JobsError):
    """An RQ job did not come through the API; `reason` is oversized, not-json, function-not-listed or callback."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(JobsError):
    """The blob store failed."""


class BlobMissing(StoreError):
    """There is no such blob, or it has expired."""
