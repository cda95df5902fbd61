"""The record of a job (state, progress, outcome) and of a worker."""

from collections.abc import Mapping

from pydantic import Field

from jobs.errors import SpecError
from jobs.request_context import NO_REQUEST, RequestContext, read_request_context
from jobs.spec import FrozenModel, JobSpec, load_spec
from jobs.state import State


class Progress(FrozenModel):
    """How far a job is.  `fraction` (0 to 1) is of all possible passes: it jumps when the image is clean early."""

    fraction: float = 0.0
    pass_index: int = 0
    passes: int = 1
    step: int = 0
    steps: int = 1


class PassRecord(FrozenModel):
    """One pass of the loop.  `blob` names the picture after it, where those are kept."""

    label: str
    source: str
    by: str = ""
    probability_before: float
    probability_after: float | None = None
    kept: bool = True
    seconds: float = 0.0
    max_change_levels: float | None = None
    blob: str | None = None


class Result(FrozenModel):
    """The restored picture."""

    blob: str
    bytes: int
    sha256: str
    format: str
    width_px: int
    height_px: int


class Failure(FrozenModel):
    """Why a job failed: a stable code, a sentence, and what to do next."""

    code: str
    detail: str
    hint: str = ""


class Outcome(FrozenModel):
    """How a job ended; while it runs, what is known so far."""

    degradations: dict[str, float] = Field(default_factory=dict)
    passes: tuple[PassRecord, ...] = ()
    stop_reason: str | None = None
    seed: int | None = None
    steps: int | None = None
    warnings: tuple[str, ...] = ()
    result: Result | None = None
    failure: Failure | None = None
    seconds: dict[str, float] = Field(default_factory=dict)  # stage -> seconds


class JobRecord(FrozenModel):
    """Everything that Redis knows of a job.  Times are milliseconds since 1970 by Redis' clock.

    A job that a worker holds is `queued` until the worker's engine begins with it, although Redis says `running`.
    """

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
    request: RequestContext = NO_REQUEST


class Degradation(FrozenModel):
    """A degradation that a bundle can repair."""

    name: str
    prompt: str
    fidelity: float = 1.0


class WorkerInfo(FrozenModel):
    """What a worker announces for one of its bundles.

    Attributes:
        ready: its engine has passed the golden image.
        reason: why it is not ready.
        cannot_load: its memory does not suffice for its engine.
    """

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
    reason: str = ""
    cannot_load: bool = False
    in_hand: int = 0
    started_ms: int


def read_record(fields: Mapping[bytes, bytes], spec: JobSpec | None = None) -> JobRecord | None:
    """Read a job's Redis hash; None where it is empty, or where somebody else has written a spec that is not valid.

    Pass the spec, which never changes, to save its parsing.
    """
    if b"spec" not in fields:
        return None
    try:
        spec = spec or load_spec(fields[b"spec"])
    except SpecError:
        return None

    def number(name: bytes) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    state, started_ms = State(fields[b"state"].decode()), number(b"started_ms")
    if state is State.RUNNING and started_ms is None:  # a worker holds it, and decodes it while others run
        state = State.QUEUED
    return JobRecord(
        spec=spec,
        state=state,
        enqueued_ms=number(b"enqueued_ms") or 0,
        started_ms=started_ms,
        ended_ms=number(b"ended_ms"),
        expires_ms=number(b"expires_ms"),
        attempts=number(b"attempts") or 0,
        deaths=number(b"deaths") or 0,
        cancel=bool(fields.get(b"cancel")),
        progress=Progress.model_validate_json(fields.get(b"progress") or b"{}"),
        outcome=Outcome.model_validate_json(fields.get(b"outcome") or b"{}"),
        request=read_request_context(fields.get(b"request")),
    )
