"""The options of a request: validated from form fields, a query string or JSON.  Unknown fields are refused.

Names, ranges, defaults and descriptions of the controls come from `jobs.spec`; this module adds the fields of the
request itself (bundle, lane, deadline) and draws a seed.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from jobs.spec import JobControls, Kind, Lane, Output
from models.control_text import has_shares, parse_shares
from models.errors import ControlsError
from models.presets import preset_values
from service.label_fields import LABELS_FIELD, label_texts
from service.query import MAX_QUOTED_CHARACTERS, unknown_field
from service.refusals import InvalidRequest
from service.request_fields import CONTROL_FIELDS, FIELDS, LIST_FIELDS, LISTS, OUTPUT_FIELDS, SEED_BITS
from service.webhooks.fields import HOOK_FIELDS


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a request.  None means: the service decides."""

    bundle: str | None
    lane: Lane | None
    deadline_s: float | None
    controls: JobControls
    output: Output
    labels: Mapping[str, str] = field(default_factory=dict)
    store: bool = True
    hooks: Mapping[str, Any] = field(default_factory=dict)  # HOOK_FIELDS


def split_fields(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the fields of a form or a query string; lists may be repeated, separated by commas, or named `only[]`.

    Raises:
        InvalidRequest: a field that is not a list occurs twice.
    """
    fields: dict[str, Any] = {}
    for key, value in pairs:
        name = key.removesuffix("[]") if key.removesuffix("[]") in LISTS else key
        if name in LISTS:
            fields.setdefault(name, []).extend(word.strip() for word in value.split(",") if word.strip())
        elif name == LABELS_FIELD:
            fields[name] = label_texts(fields.get(name), value)
        else:
            fields = merge_fields(fields, {name: _typed(name, value)})
    return {name: value for name, value in fields.items() if value != ""}  # an HTML form sends empty fields


def _typed(name: str, text: str) -> object:
    """Return a text as the type that the model of the fields cannot make of it: shares of repairs, a choice of numbers.

    Raises:
        InvalidRequest: the shares cannot be read.
    """
    if name == "scale" and text.isascii() and text.isdigit():
        return int(text[:9])
    if name != "strength" or not has_shares(text):
        return text
    try:
        return parse_shares(text)
    except ControlsError as error:
        raise invalid_field("strength", str(error).removeprefix("strength: ")) from error


def merge_fields(fields: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return both sets of fields as one.

    Raises:
        InvalidRequest: both contain the same field.
    """
    if twice := sorted(fields.keys() & others.keys()):
        problem = "given twice"
        raise InvalidRequest(f"{twice[0]}: {problem}", errors=[{"field": name, "problem": problem} for name in twice])
    return {**fields, **others}


def read_options(kind: Kind, fields: Mapping[str, Any], json_fields: Mapping[str, Any] | None = None) -> Options:
    """Validate the fields of a request and draw a seed if there is none.

    `fields` are texts of a form or a query string.  `json_fields` have types of their own, which must be right: true is
    not a number, and "5" is none either, but 5.0 is the whole number 5.

    Raises:
        InvalidRequest: `detail` contains the first problem, `errors` all of them.
    """
    model, json_fields = FIELDS[kind], json_fields or {}
    strict = {name: _from_json(value) for name, value in json_fields.items()}
    errors = _errors(model, strict, strict=True)
    errors += [entry for entry in _errors(model, fields) if entry not in errors]
    if errors:
        raise InvalidRequest(f"{errors[0]['field']}: {errors[0]['problem']}", errors=errors)
    given = {name: value for name, value in merge_fields(fields, strict).items() if value is not None}
    values = model.model_validate(given).model_dump()
    if kind == "restore":
        values |= preset_values(values["preset"], given)
    _check_contradictions(values)
    if values.get("prompt") is None:  # it means nothing, and workers of an earlier version do not know it
        values.pop("best_effort", None)
    if values.get("seed") is None:
        values["seed"] = secrets.randbits(SEED_BITS)
    return Options(
        bundle=values["bundle"],
        lane=values["lane"],
        deadline_s=values["deadline_s"],
        controls=JobControls(**{name: values[name] for name in CONTROL_FIELDS if name in values}),
        output=Output(**{name: values[name] for name in OUTPUT_FIELDS if name in values}),
        labels=values[LABELS_FIELD],
        store=values["store"],
        hooks={name: values[name] for name in HOOK_FIELDS if values.get(name)},
    )


def _from_json(value: object) -> object:
    """Return a JSON value as the type that a strict model expects; 5.0 is a whole number, as in JSON Schema."""
    if isinstance(value, list):
        return tuple(map(_from_json, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _errors(model: type[BaseModel], fields: Mapping[str, Any], strict: bool = False) -> list[dict[str, str]]:
    try:
        model.model_validate(fields, strict=strict)
    except ValidationError as error:
        return [_problem(model, entry["type"], entry["loc"], entry["msg"]) for entry in error.errors()]
    return []


def _check_contradictions(values: Mapping[str, Any]) -> None:
    """Refuse options of which one makes another meaningless.

    Raises:
        InvalidRequest: naming the field to leave out.
    """
    only, skip = values.get("only") or (), values.get("skip") or ()
    for name in LIST_FIELDS:
        if values.get("prompt") is not None and values.get(name):
            raise invalid_field(name, "contradicts prompt, which decides alone what is repaired; leave one of them out")
    if (values.get("seed") or 0) + values.get("variants", 1) > 2**63:
        raise invalid_field("seed", "the variants have the next seeds, which end at 2^63 - 1; give a smaller one")
    if both := [name for name in only if name in skip]:
        raise invalid_field("skip", f"contradicts only: both name {', '.join(both)}; leave it out of one of them")


def invalid_field(field: str, problem: str) -> InvalidRequest:
    """Return the refusal of one field."""
    return InvalidRequest(f"{field}: {problem}", errors=[{"field": field, "problem": problem}])


def _problem(model: type[BaseModel], error: str, where: tuple[int | str, ...], message: str) -> dict[str, str]:
    name = str(where[0])[:MAX_QUOTED_CHARACTERS] if where else ""
    if error == "extra_forbidden":
        message = unknown_field(name, model.model_fields)
    elif len(where) == 3 and where[1] == "shares":
        message = f"{str(where[2])[:MAX_QUOTED_CHARACTERS]}: {message}"
    return {"field": name, "problem": message.removeprefix("Value error, ")}
