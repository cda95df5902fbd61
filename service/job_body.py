"""The JSON bodies of jobs: what clients read."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, create_model

from jobs.spec import JobControls, Kind, Lane, Output
from jobs.state import State
from service.request_fields import CONTROL_FIELDS, OUTPUT_FIELDS


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
    """One job.  `warning_codes` has the code of each warning; `credit` says whom to name beside the result."""

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
    credit: str
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
