"""The controls have one name, range and default in every spelling: models, job spec, API, report and command line.

`jobs.spec.JobControls` and `models.controls.Controls` are written by hand, since jobs/ never imports torch.  The API's
fields and `params` derive from the job spec.  The command line is written by hand, too.
"""

import dataclasses
import math
from typing import get_args, get_type_hints

import pytest
import typer
from pydantic import ValidationError

from cli.main import app
from cli.restore import restore
from jobs.record import Outcome, PassRecord
from jobs.spec import JobControls, Output
from models.controls import SCALES, Controls
from models.errors import ControlsError
from models.presets import PRESETS, preset_values
from models.restoration_report import PassReport, Report
from service.app import create_app
from service.control_bounds import control_bounds
from service.job_body import JobBody, Params, PassBody
from service.request_fields import FIELDS
from service.settings import ServiceSettings

MODELS_ONLY = {"text_guidance", "image_guidance"}
"""Guidance scales of the published program; other values than 1 are for experiments."""
MODELS_AND_CLI_ONLY = {"strict"}
"""The published loop is for comparisons, which run in one process."""
CLI_ONLY = {"out", "device", "compare", "exists", "json", "server", "api_key_file", "provenance"}
"""Local files, the local device, the form of the output, where the work is done, and the mark, which the operator of a
service decides."""
OF_PRESET = {"strength"}
"""Without a value, the preset's, or else the default."""
API_ONLY = {"lane", "deadline_s", "metadata", "webhook_url", "webhook_events", "result_url", "labels", "store"}
"""The queue, EXIF, which the command line always keeps, who is told of the end, and what stays."""
CLI_AND_API_ONLY = {"bundle", "format", "quality"}
"""Controls of the job and its output, not of the restorer."""
INTERNAL = {"passes"}
"""`Output.passes`: the API always keeps the image of each pass."""
LENGTH_LIMITS = {"prompt": 1000, "only": 32, "skip": 32}
"""Limits of a job's size.  A local run needs none."""

MODELS = {field.name: field.default for field in dataclasses.fields(Controls)}
JOB = {name: field.default for name, field in JobControls.model_fields.items()}
API = {name: field.default for name, field in FIELDS["restore"].model_fields.items()}
CLI = {
    option.removeprefix("--").replace("-", "_"): parameter.default
    for parameter in typer.main.get_command(app).commands["restore"].params
    for option in parameter.opts
    if option.startswith("--") and option != "--help"
}
OPENAPI = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).openapi()


def bounds(model, name):
    """The smallest and largest value of a numeric field, None where it has none."""
    limits = {}
    for constraint in model.model_fields[name].metadata:
        limits |= {key: value for key in ("ge", "le", "lt") if (value := getattr(constraint, key, None)) is not None}
    if not limits:
        return None
    return limits["ge"], limits.get("le", limits.get("lt", 0) - 1)


RANGES = {name: found for name in JobControls.model_fields if (found := bounds(JobControls, name))}


def beyond(value, direction):
    return value + direction if isinstance(value, int) and abs(value) > 1 else math.nextafter(value, direction * 9e9)


def test_the_models_and_the_job_spec_have_the_same_controls_and_defaults():
    assert {name: value for name, value in MODELS.items() if name not in MODELS_ONLY | MODELS_AND_CLI_ONLY} == JOB


def test_the_api_has_the_controls_of_the_job_spec_and_the_fields_of_the_output():
    assert set(API) == set(JOB) | set(Output.model_fields) - INTERNAL | API_ONLY | CLI_AND_API_ONLY
    for name, field in {**JobControls.model_fields, **Output.model_fields}.items():
        if name not in {"seed", *INTERNAL}:  # the API draws a missing seed
            assert API[name] == field.default, name
    assert API["seed"] is None


@pytest.mark.parametrize("name", sorted(set(JOB) | set(Output.model_fields) - INTERNAL))
def test_the_api_has_the_ranges_and_descriptions_of_the_job_spec(name):
    model = JobControls if name in JOB else Output
    ours = FIELDS["restore"].model_fields[name]
    assert ours.description == model.model_fields[name].description and ours.description
    assert ours.metadata == model.model_fields[name].metadata


def test_the_params_of_a_job_are_its_controls_and_its_output():
    assert set(Params.model_fields) == set(JOB) | set(Output.model_fields) - INTERNAL
    assert set(OPENAPI["components"]["schemas"]["Params"]["properties"]) == set(Params.model_fields)


def test_the_command_line_has_the_controls_and_defaults_of_the_models():
    assert set(CLI) == set(MODELS) - MODELS_ONLY | CLI_ONLY | CLI_AND_API_ONLY
    for name in set(MODELS) - MODELS_ONLY:
        unset = None if MODELS[name] == () or name in OF_PRESET else MODELS[name]  # an option that is not given
        assert CLI[name] == unset, name


def test_no_option_has_a_second_long_name():
    parameters = typer.main.get_command(app).commands["restore"].params
    assert all(sum(option.startswith("--") for option in parameter.opts) <= 1 for parameter in parameters)


@pytest.mark.parametrize("name", RANGES)
def test_the_models_accept_the_range_of_the_job_spec_and_nothing_beyond(name):
    low, high = RANGES[name]
    for value in (low, high):
        Controls(**{name: value})
        JobControls(**{name: value})
    for value in (beyond(low, -1), beyond(high, 1)):
        with pytest.raises(ControlsError, match=name):
            Controls(**{name: value})


def test_every_number_has_a_range():
    assert set(RANGES) == {"fidelity", "max_passes", "steps", "seed", "variants"}  # strength and scale: below


@pytest.mark.parametrize("value", [-0.01, 1.01, {"noise": -0.01}, {"noise": 1.01}, {}])
def test_models_and_job_spec_refuse_the_same_strengths(value):
    for accepted in (0, 1, {"noise": 0, "haze": 1}):
        assert Controls(strength=accepted).strength == JobControls(strength=accepted).strength == accepted
    with pytest.raises(ControlsError, match="strength"):
        Controls(strength=value)
    with pytest.raises(ValidationError, match="strength"):
        JobControls(strength=value)


@pytest.mark.parametrize(("name", "values"), [("scale", SCALES), ("preset", tuple(PRESETS))])
def test_models_job_spec_and_limits_have_the_same_choices(name, values):
    assert get_args(JobControls.model_fields[name].annotation) == values == tuple(control_bounds()[name].values)
    for value in values:
        assert getattr(Controls(**{name: value}), name) == value
    with pytest.raises(ControlsError, match=name):
        Controls(**{name: 3 if name == "scale" else "best"})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_controls_within_their_ranges_and_explicit_ones_win(name):
    values = dict(PRESETS[name].controls)
    Controls(preset=name, **preset_values(name, ()))
    assert preset_values(name, ()) == values and preset_values(name, values) == {}


def test_the_api_and_the_command_line_have_the_same_range_of_quality():
    option = get_type_hints(restore, include_extras=True)["quality"].__metadata__[0]
    assert (option.min, option.max) == bounds(Output, "quality")


@pytest.mark.parametrize("name", LENGTH_LIMITS)
def test_text_and_lists_of_a_job_are_limited(name):
    assert [entry.max_length for entry in JobControls.model_fields[name].metadata] == [LENGTH_LIMITS[name]]


def test_a_report_has_the_same_names_in_models_job_record_and_api():
    report = {field.name for field in dataclasses.fields(Report)}
    assert report <= set(Outcome.model_fields)
    assert report - {"seed", "steps"} <= set(JobBody.model_fields)  # these two are in `params`
    passes = {field.name for field in dataclasses.fields(PassReport)}
    assert passes == set(PassRecord.model_fields) - {"blob"} == set(PassBody.model_fields) - {"image"}
