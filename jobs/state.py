"""The states of a job."""

from enum import StrEnum


class State(StrEnum):
    """queued -> running -> succeeded, failed, canceled or expired.  A job whose worker died goes back to queued."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def over(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)
