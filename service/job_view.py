"""The JSON view of a job."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, create_model

from jobs.record import JobRecord, PassRecord, Result, Variant
from jobs.spec import JobControls, Kind, Lane, Output
from jobs.state import State
from service.request_options import CONTROL_FIELDS, OUTPUT_FIELDS


class QueuePosition(BaseModel):
    """`position`: waiting jobs before this job; those that workers have already taken and not begun come first.

    `eta_s`: estimated seconds until its end, with what the running jobs still need; null until a job has ended.
    `paused`: an operator has paused the job's lane, so it waits until the lane is resumed, and `eta_s` is null.
    """

    position: int
    eta_s: float | None = None
    paused: bool = False


class ProgressBody(BaseModel):
    """`fraction` of all possible passes, 0 to 1; it jumps ahead when the image is clean early."""

    fraction: float
    pass_index: int
    passes: int
    step: int
    steps: int


class DegradationProbability(BaseModel):
    """A degradation and its probability."""

    name: str
    probability: float


class PassBody(BaseModel):
    """One pass of the loop.  `image` is the URL of its image, if that is kept.

    `by` is "diffusion", "network" for a network that answers in one step, or "specialist NAME".  `max_change_levels` is
    the largest change of a channel value, in levels of 8 bits: a change of one level cannot be seen.
    `mean_change_levels` is the mean over all channel values, `changed_share` (0 to 1) counts the pixels that have
    another value with 8 bits.
    """

    label: str
    source: str
    by: str
    probability_before: float
    probability_after: float | None
    kept: bool
    seconds: float
    max_change_levels: float | None
    mean_change_levels: float | None
    changed_share: float | None
    image: str | None


def _annotations(model: type[BaseModel], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: (model.model_fields[name].annotation, ...) for name in fields}


Params = create_model(
    "Params",
    __doc__="The options of the request, with the seed that was drawn.",
    **_annotations(JobControls, CONTROL_FIELDS),
    **_annotations(Output, OUTPUT_FIELDS),
)


class ResultBody(BaseModel):
    """The restored image."""

    url: str
    bytes: int
    sha256: str
    format: str
    width: int
    height: int
    expires_at: datetime | None


class ChangeBody(BaseModel):
    """How much the result differs from the image that was restored, in levels of 8 bits.

    `share` (0 to 1) counts the pixels that have another value with 8 bits.
    """

    mean_levels: float
    max_levels: float
    share: float


class UnderstoodBody(BaseModel):
    """How the prompt was understood: the degradation that it names, how well (0 to 1), and words without a part in it.

    `used` is what reached the network: the "text", only the "label", or "nothing".
    """

    label: str
    score: float
    ignored: list[str]
    used: str


class VariantBody(BaseModel):
    """One of several results; their passes have no images, except those of the first, which are the job's."""

    variant: int
    seed: int
    result: ResultBody
    passes: list[PassBody]
    stop_reason: str | None
    change: ChangeBody | None


class ErrorBody(BaseModel):
    """Why a job failed; `code` is stable."""

    code: str
    detail: str
    hint: str


class JobBody(BaseModel):
    """One job.  `warning_codes` has the code of each warning."""

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
    queue: QueuePosition | None
    progress: ProgressBody
    degradations: list[DegradationProbability]
    understood: UnderstoodBody | None
    passes: list[PassBody]
    stop_reason: str | None
    change: ChangeBody | None
    params: Params  # type: ignore[valid-type]
    timings: dict[str, float]
    result: ResultBody | None
    variants: list[VariantBody]
    warnings: tuple[str, ...]
    warning_codes: tuple[str, ...]
    error: ErrorBody | None
    labels: dict[str, str]
    batch: str | None


class JobPage(BaseModel):
    """Jobs, newest first; `next` is the cursor of the next page, null on the last page."""

    jobs: list[JobBody]
    next: str | None


class DetectBody(BaseModel):
    """The degradations of an image, most probable first."""

    id: str
    degradations: list[DegradationProbability]
    timings: dict[str, float]


def job_url(job_id: str, path_prefix: str = "") -> str:
    """Return the path of a job."""
    return f"{path_prefix}/jobs/{job_id}"


def job_body(record: JobRecord, position: QueuePosition | None = None, path_prefix: str = "") -> JobBody:
    """Return the JSON view of a job; `path_prefix` is the path under which a proxy exposes the service."""
    spec, outcome, url = record.spec, record.outcome, job_url(record.spec.id, path_prefix)
    return JobBody(
        id=spec.id,
        kind=spec.kind,
        status=record.state,
        cancel_requested=record.cancel,
        bundle=spec.bundle,
        lane=spec.lane,
        created_at=_datetime(record.enqueued_ms) or datetime.now(UTC),
        started_at=_datetime(record.started_ms),
        ended_at=_datetime(record.ended_ms),
        attempts=record.attempts,
        queue=position,
        progress=_progress(record),
        degradations=degradation_list(outcome.degradations),
        passes=[_pass(entry, f"{url}/passes/{number}/image") for number, entry in enumerate(outcome.passes, 1)],
        understood=UnderstoodBody(**outcome.understood.model_dump()) if outcome.understood else None,
        stop_reason=outcome.stop_reason,
        change=ChangeBody(**outcome.change.model_dump()) if outcome.change else None,
        params=_params(record),
        timings=outcome.seconds,
        result=_result(record, outcome.result, f"{url}/result"),
        variants=_variants(record, url),
        warnings=outcome.warnings,
        warning_codes=(*outcome.warning_codes, *("other",) * (len(outcome.warnings) - len(outcome.warning_codes))),
        error=ErrorBody(**outcome.failure.model_dump()) if outcome.failure else None,
        labels=spec.labels,
        batch=spec.batch,
    )


def detect_body(record: JobRecord) -> DetectBody:
    """Return the JSON view of a finished detection."""
    outcome = record.outcome
    return DetectBody(
        id=record.spec.id, degradations=degradation_list(outcome.degradations), timings=outcome.seconds
    )  # fmt: skip


def degradation_list(degradations: dict[str, float]) -> list[DegradationProbability]:
    """Return the degradations in the worker's order, most probable first."""
    return [DegradationProbability(name=name, probability=value) for name, value in degradations.items()]


def _datetime(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _progress(record: JobRecord) -> ProgressBody:
    progress = record.progress.model_dump()
    if record.state is State.SUCCEEDED:
        progress |= {"fraction": 1.0, "step": progress["steps"]}  # workers skip reports of a fast job's last steps
    return ProgressBody(**progress)


def _pass(entry: PassRecord, url: str) -> PassBody:
    return PassBody(**entry.model_dump(exclude={"blob"}), image=url if entry.blob else None)


def _params(record: JobRecord) -> BaseModel:
    controls, output, outcome = record.spec.controls, record.spec.output, record.outcome
    params = dict(controls) | output.model_dump(include=set(OUTPUT_FIELDS))
    if controls.steps is None and outcome.steps:
        params["steps"] = outcome.steps
    body: BaseModel = Params(**params)
    return body


def _variants(record: JobRecord, url: str) -> list[VariantBody]:
    found = []
    for number, variant in enumerate(record.outcome.variants, 1):
        result = _result(record, variant.result, f"{url}/result?variant={number}")
        if result is not None:
            found.append(_variant(variant, number, result, url))
    return found


def _variant(variant: Variant, number: int, result: ResultBody, url: str) -> VariantBody:
    return VariantBody(
        variant=number,
        seed=variant.seed,
        result=result,
        passes=[_pass(entry, f"{url}/passes/{index}/image") for index, entry in enumerate(variant.passes, 1)],
        stop_reason=variant.stop_reason,
        change=ChangeBody(**variant.change.model_dump()) if variant.change else None,
    )


def _result(record: JobRecord, result: Result | None, url: str) -> ResultBody | None:
    if result is None or record.state is not State.SUCCEEDED:
        return None
    return ResultBody(
        url=url,
        bytes=result.bytes,
        sha256=result.sha256,
        format=result.format,
        width=result.width_px,
        height=result.height_px,
        expires_at=_datetime(record.expires_ms),
    )
