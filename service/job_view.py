"""The JSON view of a job."""

from datetime import UTC, datetime

from pydantic import BaseModel

from jobs.record import JobRecord, PassRecord, Result, Variant
from jobs.state import State
from service.job_body import (
    ChangeBody,
    DegradationProbability,
    DetectBody,
    ErrorBody,
    JobBody,
    Params,
    PassBody,
    ProgressBody,
    QueuePosition,
    ResultBody,
    UnderstoodBody,
    VariantBody,
)
from service.request_fields import OUTPUT_FIELDS


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
        checked=outcome.checked,
        credit=outcome.credit,
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
