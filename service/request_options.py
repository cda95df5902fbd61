"""The options of a request: validated from form fields, a query string or JSON.  Unknown fields are refused.

Names, ranges, defaults and descriptions of the controls come from `jobs.spec`; this module adds the fields of the
request itself (bundle, lane, deadline) and draws a seed.
"""

import difflib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from jobs.spec import JobControls, Kind, Lane, Output
from models.errors import ControlsError
from models.vocabulary import names
from service.refusals import InvalidRequest

LIST_FIELDS = ("only", "skip")
CONTROL_FIELDS = tuple(JobControls.model_fields)
OUTPUT_FIELDS = tuple(name for name in Output.model_fields if name != "passes")
"""`passes` is not an option of a request: the service always keeps an image of each pass."""
SEED_BITS = 53
"""A drawn seed is exact in JavaScript's numbers."""
MAX_QUOTED_CHARACTERS = 100
"""Of a field's name in a refusal."""
MAX_DEADLINE_S = 7 * 24 * 3600.0


class DetectFields(BaseModel):
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


def _derived(model: type[BaseModel], fields: Iterable[str]) -> dict[str, Any]:
    """Return these fields of a model for `create_model`, with their ranges, defaults and descriptions."""
    derived: dict[str, Any] = {}
    for name in fields:
        field = model.model_fields[name]
        annotation, default = field.annotation, field.default
        if name == "seed":  # optional in a request: the service draws one
            annotation, default = int | None, None
        derived[name] = Annotated[annotation, *field.metadata, Field(default=default, description=field.description)]
    return derived


def _canonical_names(words: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return names(words)
    except ControlsError as error:
        raise ValueError(str(error)) from error


RestoreFields: type[DetectFields] = create_model(
    "RestoreFields",
    __base__=DetectFields,
    __doc__="The fields of `POST /restore`.",
    __validators__={"canonical_names": field_validator(*LIST_FIELDS)(_canonical_names)},
    **_derived(JobControls, CONTROL_FIELDS),
    **_derived(Output, OUTPUT_FIELDS),
)
FIELDS: dict[Kind, type[DetectFields]] = {"detect": DetectFields, "restore": RestoreFields}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a request.  None means: the service decides."""

    bundle: str | None
    lane: Lane | None
    deadline_s: float | None
    controls: JobControls
    output: Output


def split_fields(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the fields of a form or a query string; lists may be repeated, separated by commas, or named `only[]`.

    Raises:
        InvalidRequest: a field that is not a list occurs twice.
    """
    fields: dict[str, Any] = {}
    for key, value in pairs:
        name = key.removesuffix("[]") if key.removesuffix("[]") in LIST_FIELDS else key
        if name in LIST_FIELDS:
            fields.setdefault(name, []).extend(word.strip() for word in value.split(",") if word.strip())
        elif value != "":  # an HTML form sends empty fields
            fields = merge_fields(fields, {name: value})
    return fields


def merge_fields(fields: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return both sets of fields as one.

    Raises:
        InvalidRequest: both contain the same field.
    """
    if twice := sorted(fields.keys() & others.keys()):
        problem = "given twice"
        raise InvalidRequest(f"{twice[0]}: {problem}", errors=[{"field": name, "problem": problem} for name in twice])
    return {**fields, **others}


def read_options(kind: Kind, fields: Mapping[str, Any]) -> Options:
    """Validate the fields of a request and draw a seed if there is none.

    Raises:
        InvalidRequest: `detail` contains the first problem, `errors` all of them.
    """
    model = FIELDS[kind]
    try:
        values = model.model_validate(fields).model_dump()
    except ValidationError as error:
        errors = [_problem(model, entry["type"], entry["loc"], entry["msg"]) for entry in error.errors()]
        raise InvalidRequest(f"{errors[0]['field']}: {errors[0]['problem']}", errors=errors) from error
    if values.get("seed") is None:
        values["seed"] = secrets.randbits(SEED_BITS)
    return Options(
        bundle=values["bundle"],
        lane=values["lane"],
        deadline_s=values["deadline_s"],
        controls=JobControls(**{name: values[name] for name in CONTROL_FIELDS if name in values}),
        output=Output(**{name: values[name] for name in OUTPUT_FIELDS if name in values}),
    )


def _problem(model: type[BaseModel], error: str, where: tuple[int | str, ...], message: str) -> dict[str, str]:
    name = str(where[0])[:MAX_QUOTED_CHARACTERS] if where else ""
    if error == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        message = "unknown field" + (f"; did you mean {near[0]}?" if near else "")
    return {"field": name, "problem": message.removeprefix("Value error, ")}
