"""What is known of a job: its state, how far it is, how it ended."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from jobs.spec import Frozen, JobSpec, load_spec


class State(StrEnum):
    """queued -> running -> one of the four ends.  A job whose worker died goes back to queued."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def over(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


class Progress(Frozen):
    """`fraction` of all passes that may come, 0 to 1; it may jump ahead when the picture is clean early."""

    fraction: float = 0.0
    pass_index: int = 0
    passes: int = 1
    step: int = 0
    steps: int = 1


class PassRecord(Frozen):
    """One pass of the loop.  `blob` is its picture, where pictures of the passes are kept."""

    label: str
    source: str
    by: str = ""
    probability_before: float
    probability_after: float | None = None
    kept: bool = True
    seconds: float = 0.0
    blob: str | None = None


class Result(Frozen):
    """The restored picture."""

    blob: str
    bytes: int
    sha256: str
    format: str
    width_px: int
    height_px: int


class Failure(Frozen):
    """Why a job failed: a stable code, a sentence, and what to do next."""

    code: str
    detail: str
    hint: str = ""


class Outcome(Frozen):
    """How a job ended, or so much of it as is known while it runs."""

    degradations: dict[str, float] = Field(default_factory=dict)
    passes: tuple[PassRecord, ...] = ()
    stop_reason: str | None = None
    seed: int | None = None
    steps: int | None = None
    warnings: tuple[str, ...] = ()
    result: Result | None = None
    failure: Failure | None = None
    seconds: dict[str, float] = Field(default_factory=dict)  # stage -> seconds


class JobRecord(Frozen):
    """A job as the store knows it; times in milliseconds since 1970 by Redis' clock."""

    spec: JobSpec
    state: State
    enqueued_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    expires_ms: int | None = None
    attempts: int = 0
    deaths: int = 0
    cancel: bool = False
    progress: Progress = Progress()
    outcome: Outcome = Outcome()


class Degradation(Frozen):
    """What a bundle can repair."""

    name: str
    prompt: str
    fidelity: float = 1.0


class WorkerInfo(Frozen):
    """What a worker says of itself; `ready` once its engine has passed the golden image."""

    name: str
    host: str
    bundle: str
    family: str
    bundle_version: str
    license: str = ""
    device: str
    lanes: tuple[str, ...]
    degradations: tuple[Degradation, ...] = ()
    max_batch: int
    budget_mp: float | None = None
    ready: bool = False
    in_hand: int = 0
    started_ms: int


def read_record(fields: Mapping[bytes, bytes], spec: JobSpec | None = None) -> JobRecord | None:
    """From the Redis hash; None where there is none.  Who knows the spec, which never changes, spares its reading."""
    if b"spec" not in fields:
        return None

    def number(name: bytes) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    return JobRecord(
        spec=spec or load_spec(fields[b"spec"]),
        state=State(fields[b"state"].decode()),
        enqueued_ms=number(b"enqueued_ms") or 0,
        started_ms=number(b"started_ms"),
        ended_ms=number(b"ended_ms"),
        expires_ms=number(b"expires_ms"),
        attempts=number(b"attempts") or 0,
        deaths=number(b"deaths") or 0,
        cancel=bool(fields.get(b"cancel")),
        progress=Progress.model_validate_json(fields.get(b"progress") or b"{}"),
        outcome=Outcome.model_validate_json(fields.get(b"outcome") or b"{}"),
    )
