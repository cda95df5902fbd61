"""What may be said with an image: the controls, from form fields, a query string or JSON; an unknown one is refused."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobs.spec import Format, Lane
from models.errors import ControlsError
from models.vocabulary import names
from service.refusals import InvalidRequest

LISTS = ("only", "skip")
LONGEST_QUOTE = 100
"""Characters of a field's name in a refusal."""
LONGEST_DEADLINE_S = 7 * 24 * 3600.0


class DetectOrder(BaseModel):
    """What `POST /detect` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str | None = Field(
        default=None, max_length=100, description="The bundle that does it, of GET /models. Default: the service's own."
    )
    lane: Lane | None = Field(
        default=None, description="Which line to wait in. Default: interactive when the request waits, else standard."
    )
    deadline_s: float | None = Field(
        default=None, gt=0, le=LONGEST_DEADLINE_S, description="A job not begun within these seconds expires."
    )


class RestoreOrder(DetectOrder):
    """What `POST /restore` takes."""

    prompt: str | None = Field(default=None, max_length=1000, description="One pass, steered by these words.")
    only: tuple[str, ...] = Field(default=(), max_length=32, description="Repair nothing but these degradations.")
    skip: tuple[str, ...] = Field(default=(), max_length=32, description="Never repair these degradations.")
    strength: float = Field(default=1.0, ge=0, le=1, description="0 returns the input, 1 the full restoration.")
    fidelity: float | None = Field(default=None, ge=0, le=1, description="1 stays closest to the input.")
    color_fix: bool = Field(default=False, description="Give the result the input's mean colors and contrast.")
    max_passes: int | None = Field(default=None, ge=1, le=100, description="At most so many passes.")
    steps: int | None = Field(default=None, ge=1, le=1000, description="Denoising steps a pass.")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="The same seed repeats a result.")
    format: Format | None = Field(default=None, description="The result's format. Default: the input's.")
    quality: int | None = Field(default=None, ge=1, le=100, description="Of JPEG, WebP and AVIF.")
    metadata: bool = Field(default=True, description="Keep EXIF (GPS is always dropped).")

    @field_validator("only", "skip")
    @classmethod
    def _known(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return names(words)
        except ControlsError as error:
            raise ValueError(str(error)) from error


T = TypeVar("T", bound=DetectOrder)
Fields = dict[str, Any]


def gathered(pairs: Iterable[tuple[str, str]]) -> Fields:
    """Fields from a form or a query string; lists may be repeated, separated by commas, or named `only[]`.

    Raises:
        InvalidRequest: a field that is no list comes twice.
    """
    fields: Fields = {}
    for key, value in pairs:
        name = key.removesuffix("[]") if key.removesuffix("[]") in LISTS else key
        if name in LISTS:
            fields.setdefault(name, []).extend(word.strip() for word in value.split(",") if word.strip())
        elif value != "":  # an empty field of an HTML form
            fields = merged(fields, {name: value})
    return fields


def merged(fields: Mapping[str, Any], others: Mapping[str, Any]) -> Fields:
    """Both.

    Raises:
        InvalidRequest: one is given in both.
    """
    if twice := sorted(fields.keys() & others.keys()):
        problem = "given twice"
        raise InvalidRequest(f"{twice[0]}: {problem}", errors=[{"field": name, "problem": problem} for name in twice])
    return {**fields, **others}


def read_order(model: type[T], fields: Mapping[str, Any]) -> T:
    """The order that these fields make.

    Raises:
        InvalidRequest: the first problem in a sentence, all of them in `errors`.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        errors = [_problem(model, entry["type"], entry["loc"], entry["msg"]) for entry in error.errors()]
        raise InvalidRequest(f"{errors[0]['field']}: {errors[0]['problem']}", errors=errors) from error


def _problem(model: type[DetectOrder], kind: str, where: tuple[int | str, ...], message: str) -> dict[str, str]:
    name = str(where[0])[:LONGEST_QUOTE] if where else ""
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        message = "unknown field" + (f"; did you mean {near[0]}?" if near else "")
    return {"field": name, "problem": message.removeprefix("Value error, ")}
