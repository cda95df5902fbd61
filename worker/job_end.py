"""The ways in which the work on a job ends before its result is there."""

from jobs.record import Failure
from jobs.state import State

OUT_OF_MEMORY_HINT = "scale the image down, or use a worker with more memory"


class Abandoned(Exception):
    """This worker must not end the job: its lease is lost, or it goes back into the queue.  The message says why."""


class EngineAway(Exception):
    """The engine is being replaced; the job goes back into the queue and no attempt is counted."""


class Ended(Exception):
    """The job ends in this state, with this failure."""

    def __init__(self, state: State, failure: Failure | None = None) -> None:
        super().__init__(state)
        self.state, self.failure = state, failure


def canceled() -> Ended:
    return Ended(State.CANCELED)


def expired(detail: str) -> Ended:
    hint = "submit it again with a later deadline_s, or in a faster lane"
    return Ended(State.EXPIRED, Failure(code="deadline", detail=detail, hint=hint))


def failed(code: str, detail: str, hint: str = "") -> Ended:
    return Ended(State.FAILED, Failure(code=code, detail=detail, hint=hint))
