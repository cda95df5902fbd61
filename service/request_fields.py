"""The fields of a request that has options, and what their values may be.

Names, ranges, defaults and descriptions of the controls come from `jobs.spec`; this module adds the fields of the
request itself: bundle, lane, deadline, labels, and who is told of the end.
"""

import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, field_validator

from jobs.spec import JobControls, Kind, Labels, Lane, Output
from models.control_text import parse_crop
from models.controls import named_strength
from models.errors import ControlsError
from models.vocabulary import names
from service.label_fields import OF_LABELS, read_labels
from service.webhooks.fields import EVENTS_FIELD, RESULT_URL, HookFields

LIST_FIELDS = ("only", "skip")
LISTS = (*LIST_FIELDS, EVENTS_FIELD)
CONTROL_FIELDS = tuple(JobControls.model_fields)
OUTPUT_FIELDS = tuple(name for name in Output.model_fields if name != "passes")
"""`passes` is not an option of a request: the service always keeps an image of each pass."""
SEED_BITS = 53
"""A drawn seed is exact in JavaScript's numbers."""
LINE_CHARACTERS = "\t\n\r"
"""The control characters that a text of several lines has."""
MAX_DEADLINE_S = 7 * 24 * 3600.0


class DetectFields(HookFields):
    """The fields of `POST /detect`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bundle: str | None = Field(
        default=None, max_length=100, description="A bundle of GET /models. Default: the service's own."
    )
    lane: Lane | None = Field(
        default=None, description="The lane of the queue. Default: interactive if the request waits, else standard."
    )
    deadline_s: float | None = Field(
        default=None, gt=0, le=MAX_DEADLINE_S, description="A job that has not ended after these seconds expires."
    )
    labels: Annotated[Labels, BeforeValidator(read_labels), OF_LABELS] = Field(
        default_factory=dict, description="Labels of your own by which GET /jobs finds the job: up to 16."
    )
    store: bool = Field(
        default=True, description="False keeps nothing after the answer; needs a request that waits for the end."
    )


def _derived(model: type[BaseModel], fields: Iterable[str]) -> dict[str, Any]:
    """Return these fields of a model for `create_model`, with their ranges, defaults and descriptions."""
    derived: dict[str, Any] = {}
    for name in fields:
        field = model.model_fields[name]
        annotation, default = field.annotation, field.default
        if name == "seed":  # optional in a request: the service draws one
            annotation, default = int | None, None
        described = Field(default=default, description=field.description, discriminator=field.discriminator)
        derived[name] = Annotated[annotation, *field.metadata, described]
    return derived


def _canonical_names(words: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return names(words)
    except ControlsError as error:
        raise ValueError(str(error)) from error


def _canonical_shares(strength: float | dict[str, float]) -> float | dict[str, float]:
    try:
        return named_strength(strength) if isinstance(strength, dict) else strength
    except ControlsError as error:
        raise ValueError(str(error).removeprefix("strength: ")) from error


def _rectangle(crop: object) -> object:
    """Return the numbers of a crop that is written as text, in every form of a request."""
    try:
        return parse_crop(crop) if isinstance(crop, str) else crop
    except ControlsError as error:
        raise ValueError(str(error)) from error


def _no_truth(scale: object) -> object:
    if isinstance(scale, bool):  # which equals a number
        raise ValueError("Input should be 1, 2 or 4")
    return scale


def _readable(prompt: str | None) -> str | None:
    """Refuse a prompt that says nothing, or that hides something.

    A zero-width joiner is part of some scripts and emoji, so only a prompt of nothing else is refused.
    """
    if prompt is None:
        return None
    categories = [unicodedata.category(character) for character in prompt]
    if all(category[0] in "CZM" for category in categories):
        raise ValueError("contains no letter, digit or sign; write what to repair, or leave the field out")
    if any(category in ("Cc", "Cs") and prompt[at] not in LINE_CHARACTERS for at, category in enumerate(categories)):
        raise ValueError("contains a control character; write plain text")
    return prompt


RestoreFields: type[DetectFields] = create_model(
    "RestoreFields",
    __base__=DetectFields,
    __doc__="The fields of `POST /restore`.",
    __validators__={
        "canonical_names": field_validator(*LIST_FIELDS)(_canonical_names),
        "canonical_shares": field_validator("strength")(_canonical_shares),
        "rectangle": field_validator("crop", mode="before")(_rectangle),
        "no_truth": field_validator("scale", mode="before")(_no_truth),
        "readable": field_validator("prompt")(_readable),
    },
    **_derived(JobControls, CONTROL_FIELDS),
    **_derived(Output, OUTPUT_FIELDS),
    result_url=RESULT_URL,
)
FIELDS: dict[Kind, type[DetectFields]] = {"detect": DetectFields, "restore": RestoreFields}
