"""Any fields that a client sends give options or a refusal, never a crash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.problems import problem_response
from service.refusals import InvalidRequest
from service.request_fields import FIELDS
from service.request_options import read_options, split_fields

NAMES = st.sampled_from([*FIELDS["restore"].model_fields, "only[]", "sed", "", "\ud800"]) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda v: st.lists(v, max_size=3)
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_json_gives_options_or_a_refusal_that_can_be_written(fields):
    for kind in FIELDS:
        try:
            read_options(kind, {}, fields)
        except InvalidRequest as refusal:
            assert json.loads(problem_response(refusal, "x").body)["errors"]


@given(st.lists(st.tuples(NAMES, st.text(max_size=8)), max_size=4))
def test_any_form_gives_options_or_a_refusal_that_can_be_written(pairs):
    try:
        read_options("restore", split_fields(pairs))
    except InvalidRequest as refusal:
        assert json.loads(problem_response(refusal, "x").body)["errors"]


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("0", False), ("1", True)])
def test_a_form_spells_booleans_as_text(text, value):
    assert read_options("restore", split_fields([("metadata", text)])).output.metadata is value


def test_all_problems_are_reported_at_once():
    with pytest.raises(InvalidRequest) as refused:
        read_options("restore", {"strength": 2, "wobble": 1, "steps": 0})
    assert {error["field"] for error in refused.value.extra["errors"]} == {"strength", "wobble", "steps"}


@pytest.mark.parametrize("kind", list(FIELDS))
def test_a_missing_seed_is_drawn_and_exact_in_javascript(kind):
    seeds = {read_options(kind, {}).controls.seed for _ in range(8)}
    assert len(seeds) == 8 and all(0 <= seed < 2**53 for seed in seeds)


def test_a_given_seed_is_kept():
    assert read_options("restore", {"seed": 0}).controls.seed == 0


def test_a_detection_takes_no_controls():
    with pytest.raises(InvalidRequest, match="strength: unknown field"):
        read_options("detect", {"strength": 1})


def refused_fields(*arguments):
    with pytest.raises(InvalidRequest) as refused:
        read_options("restore", *arguments)
    return {error["field"] for error in refused.value.extra["errors"]}


WRONG_TYPES = {"number": [True, "5", [5]], "integer": [True, "5", [5], 1.5], "boolean": [1, 0, "true", 1.0],
               "string": [5, True, ["x"]], "array": ["noise", 5, True], "object": [True, "5", [5]]}  # fmt: skip


def json_types(name):
    schema = FIELDS["restore"].model_json_schema()["properties"][name]
    options = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return {option.get("type", "integer" if "enum" in option else None) for option in options}


@pytest.mark.parametrize("name", list(FIELDS["restore"].model_fields))
def test_a_json_value_of_another_type_is_refused(name):
    for wrong in WRONG_TYPES[(json_types(name) & set(WRONG_TYPES)).pop()]:
        assert refused_fields({}, {name: wrong}) == {name}


@pytest.mark.parametrize("name", ["strength", "fidelity", "deadline_s"])
@pytest.mark.parametrize("text", ["NaN", "inf", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(name, text):
    assert refused_fields({name: text}) == {name} == refused_fields({}, {name: float(text)})


@pytest.mark.parametrize(
    "prompt", [" ", "\n\t", "\u200b\u200d", "\ufeff", "\u00a0", "\u0301", "a\0b", "\x1b[31mred", "\x7f"]
)
def test_a_prompt_that_says_nothing_or_hides_something_is_refused(prompt):
    assert refused_fields({"prompt": prompt}) == {"prompt"} == refused_fields({}, {"prompt": prompt})


@pytest.mark.parametrize(
    "prompt",
    ["remove the rain", "\u05d4\u05e1\u05e8 \u05d2\u05e9\u05dd", "two\nlines", "\U0001f469\u200d\U0001f52c", "!"],
)
def test_a_readable_prompt_is_kept(prompt):
    assert read_options("restore", {"prompt": prompt}).controls.prompt == prompt


@pytest.mark.parametrize(("fields", "field"), [
    ({"prompt": "rain", "only": ["noise"]}, "only"), ({"prompt": "rain", "skip": ["noise"]}, "skip"),
    ({"only": ["noise"], "skip": ["grainy"]}, "skip"),
])  # fmt: skip
def test_options_that_contradict_each_other_are_refused(fields, field):
    assert refused_fields(fields) == {field} == refused_fields({}, fields)


def test_a_field_given_twice_is_refused_also_when_one_is_empty():
    with pytest.raises(InvalidRequest, match="steps: given twice"):
        split_fields([("steps", ""), ("steps", "5")])
