"""The JSON bodies of jobs: what clients read."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from jobs.spec import JobControls, Kind, Lane, Output
from jobs.state import State
from service.request_fields import CONTROL_FIELDS, OUTPUT_FIELDS


class _Body(BaseModel):
    """A body whose fields are described in the OpenAPI document by the texts below them."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class QueuePosition(_Body):
    """The place of a job in line."""

    position: int
    """Waiting jobs before this job; those that workers have already taken and not begun come first."""
    eta_s: float | None = None
    """Estimated seconds until its end, with what the running jobs still need; null until a job has ended."""
    paused: bool = False
    """An operator has paused the job's lane, so it waits until the lane is resumed, and `eta_s` is null."""


class ProgressBody(_Body):
    """How far a job is."""

    fraction: float
    """Of all possible passes, 0 to 1; it jumps ahead when the image is clean early."""
    pass_index: int
    """The pass that runs, from 0."""
    passes: int
    """Maximum number of passes."""
    step: int
    """Steps that the pass has done."""
    steps: int
    """Steps of the pass."""


class DegradationProbability(BaseModel):
    """A degradation and its probability."""

    name: str
    probability: float


class PassBody(_Body):
    """One pass of the loop."""

    label: str
    """The degradation that it repairs."""
    source: str
    """`auto`, `user` (a prompt) or `scale` (an enlargement)."""
    by: str
    """`diffusion`, `network` for a network that answers in one step, or `specialist NAME`."""
    probability_before: float
    """Of the degradation."""
    probability_after: float | None
    kept: bool
    """False: the pass did not help and was undone."""
    seconds: float
    max_change_levels: float | None
    """The largest change of a channel value, in levels of 8 bits: a change of one level cannot be seen."""
    mean_change_levels: float | None
    """The mean change of all channel values."""
    changed_share: float | None
    """The share (0 to 1) of the pixels that have another value with 8 bits."""
    image: str | None
    """The URL of the image after this pass, if that is kept."""


def _annotations(model: type[BaseModel], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: (model.model_fields[name].annotation, ...) for name in fields}


Params = create_model(
    "Params",
    __doc__="The options of the request, with the seed that was drawn.",
    **_annotations(JobControls, CONTROL_FIELDS),
    **_annotations(Output, OUTPUT_FIELDS),
)


class ResultBody(_Body):
    """The restored image."""

    url: str
    """The path of the image."""
    bytes: int
    sha256: str
    format: str
    width: int
    """In pixels, like `height`."""
    height: int
    expires_at: datetime | None
    """When the job and its images are deleted."""


class ChangeBody(BaseModel):
    """How much the result differs from the image that was restored, in levels of 8 bits.

    `share` (0 to 1) counts the pixels that have another value with 8 bits.
    """

    mean_levels: float
    max_levels: float
    share: float


class UnderstoodBody(BaseModel):
    """How the prompt was understood: the first repair that it asks for, how surely (0 to 1), and words without a part.

    `used` is what reached the network: the "text", only the "label", or "nothing".
    """

    label: str
    """`clean` where the prompt asks for no repair, `auto` where it leaves the choice to the service."""
    score: float
    ignored: list[str]
    used: str
    answer: str
    """What the words mean: `repairs`, `nothing`, `auto` or `unknown`; empty from workers of an earlier version."""
    repairs: list[str]
    """In the order of the prompt, also those that the bundle cannot do."""
    kept: list[str]
    """What the prompt wants left alone."""
    language: str
    """Two letters; empty where no word was known."""
    sure: float
    """How surely the words mean this, 0 to 1; 0 with `unknown` where no word was known."""


class VariantBody(_Body):
    """One of several results; their passes have no images, except those of the first, which are the job's."""

    variant: int
    """The number of the result, from 1."""
    seed: int
    result: ResultBody
    passes: list[PassBody]
    stop_reason: str | None
    change: ChangeBody | None


class ErrorBody(_Body):
    """Why a job failed."""

    code: str
    """Stable, such as `out-of-memory`."""
    detail: str
    """What happened, for people."""
    hint: str
    """What to do; empty where nothing helps."""


class JobBody(_Body):
    """One job."""

    id: str
    kind: Kind
    status: State
    cancel_requested: bool
    """The job runs, and ends at its next step."""
    bundle: str
    lane: Lane
    created_at: datetime
    started_at: datetime | None
    """When an engine began with it."""
    ended_at: datetime | None
    attempts: int
    """How often a worker has taken it."""
    queue: QueuePosition | None
    """Null once the job runs."""
    progress: ProgressBody
    degradations: list[DegradationProbability]
    """Those found, most probable first; grows while the job runs, like `passes`."""
    understood: UnderstoodBody | None
    """What became of the prompt; null without one."""
    passes: list[PassBody]
    """The passes that have ended."""
    stop_reason: str | None
    """Why no further pass followed."""
    change: ChangeBody | None
    """How much the image has changed; null until the job has succeeded."""
    checked: tuple[str, ...]
    """What the result was compared for: `text` and, where the worker can find them, `faces`."""
    credit: str
    """Whom to name beside the result; empty for most bundles."""
    params: Params  # type: ignore[valid-type]
    timings: dict[str, float]
    """Seconds by part of the work."""
    result: ResultBody | None
    """Null until the job has succeeded, and for `POST /detect`."""
    variants: list[VariantBody]
    """The results of a request with `variants`; the first is `result`."""
    warnings: tuple[str, ...]
    """Sentences for people."""
    warning_codes: tuple[str, ...]
    """The stable code of each warning."""
    error: ErrorBody | None
    """Why the job failed or expired, or was canceled by an operator."""
    labels: dict[str, str]
    """The labels of the request."""
    batch: str | None
    """The id of its batch."""


class JobPage(BaseModel):
    """Jobs, newest first; `next` is the cursor of the next page, null on the last page.

    `missing_shards`: the numbers of Redis servers that do not answer; their jobs are missing in this list.
    """

    jobs: list[JobBody]
    next: str | None
    missing_shards: list[int] = []


class DetectBody(BaseModel):
    """The degradations of an image, most probable first."""

    id: str
    degradations: list[DegradationProbability]
    timings: dict[str, float]
