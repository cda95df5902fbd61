"""A job as its user sees it."""

from datetime import UTC, datetime

from pydantic import BaseModel

from jobs.record import JobRecord, PassRecord, State
from jobs.spec import Format, Kind, Lane


class Place(BaseModel):
    """`position`: how many jobs are before it.  `eta_s`: until its end, as fast as jobs have ended lately."""

    position: int
    eta_s: float | None = None


class ProgressBody(BaseModel):
    """`fraction` of the work, 0 to 1; it jumps ahead when the picture is clean early."""

    fraction: float
    pass_index: int
    passes: int
    step: int
    steps: int


class Found(BaseModel):
    """A degradation and how probable it is."""

    name: str
    probability: float


class PassBody(BaseModel):
    """One pass of the loop.  `image` is its picture, where one has been kept.

    `by` is "diffusion", "network" for one that answers in one step, or "specialist NAME".
    """

    label: str
    source: str
    by: str
    probability_before: float
    probability_after: float | None
    kept: bool
    seconds: float
    image: str | None


class Params(BaseModel):
    """What was asked for, with the seed that was drawn."""

    prompt: str | None
    only: tuple[str, ...]
    skip: tuple[str, ...]
    strength: float
    fidelity: float | None
    color_fix: bool
    max_passes: int | None
    steps: int | None
    seed: int
    format: Format | None
    quality: int | None
    metadata: bool


class ResultBody(BaseModel):
    """The restored picture."""

    url: str
    bytes: int
    sha256: str
    format: str
    width: int
    height: int
    expires_at: datetime | None


class ErrorBody(BaseModel):
    """Why a job failed; `code` is stable."""

    code: str
    detail: str
    hint: str


class JobBody(BaseModel):
    """One job."""

    id: str
    kind: Kind
    status: State
    cancel_requested: bool
    bundle: str
    lane: Lane
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    queue: Place | None
    progress: ProgressBody
    degradations: list[Found]
    passes: list[PassBody]
    stop_reason: str | None
    params: Params
    timings: dict[str, float]
    result: ResultBody | None
    warnings: tuple[str, ...]
    error: ErrorBody | None


class JobPage(BaseModel):
    """Jobs, newest first; `next` is the cursor of the page after, None on the last."""

    jobs: list[JobBody]
    next: str | None


class DetectBody(BaseModel):
    """What was found, most probable first; nothing was changed."""

    id: str
    degradations: list[Found]
    seconds: dict[str, float]


def job_url(job_id: str, prefix: str = "") -> str:
    """Where a job is."""
    return f"{prefix}/jobs/{job_id}"


def job_body(record: JobRecord, place: Place | None = None, prefix: str = "") -> JobBody:
    """Shape a record; `prefix` is the path under which a proxy shows the service."""
    spec, outcome, url = record.spec, record.outcome, job_url(record.spec.id, prefix)
    return JobBody(
        id=spec.id,
        kind=spec.kind,
        status=record.state,
        cancel_requested=record.cancel,
        bundle=spec.bundle,
        lane=spec.lane,
        created_at=_moment(record.enqueued_ms) or datetime.now(UTC),
        started_at=_moment(record.started_ms),
        ended_at=_moment(record.ended_ms),
        attempts=record.attempts,
        queue=place,
        progress=_progress(record),
        degradations=found(outcome.degradations),
        passes=[_pass(entry, f"{url}/passes/{number}/image") for number, entry in enumerate(outcome.passes, 1)],
        stop_reason=outcome.stop_reason,
        params=_params(record),
        timings=outcome.seconds,
        result=_result(record, f"{url}/result"),
        warnings=outcome.warnings,
        error=ErrorBody(**outcome.failure.model_dump()) if outcome.failure else None,
    )


def found(degradations: dict[str, float]) -> list[Found]:
    """In the worker's order: most probable first."""
    return [Found(name=name, probability=probability) for name, probability in degradations.items()]


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _progress(record: JobRecord) -> ProgressBody:
    progress = record.progress.model_dump()
    if record.state is State.SUCCEEDED:
        progress |= {"fraction": 1.0, "step": progress["steps"]}  # the last steps of a quick job are not reported
    return ProgressBody(**progress)


def _pass(entry: PassRecord, url: str) -> PassBody:
    return PassBody(**entry.model_dump(exclude={"blob"}), image=url if entry.blob else None)


def _params(record: JobRecord) -> Params:
    controls, output, outcome = record.spec.controls, record.spec.output, record.outcome
    params = controls.model_dump() | output.model_dump(include={"format", "quality", "metadata"})
    if controls.steps is None and outcome.steps:
        params["steps"] = outcome.steps
    return Params(**params)


def _result(record: JobRecord, url: str) -> ResultBody | None:
    result = record.outcome.result
    if result is None or record.state is not State.SUCCEEDED:
        return None
    return ResultBody(
        url=url,
        bytes=result.bytes,
        sha256=result.sha256,
        format=result.format,
        width=result.width_px,
        height=result.height_px,
        expires_at=_moment(record.expires_ms),
    )
