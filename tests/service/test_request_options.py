"""Any fields that a client sends give options or a refusal, never a crash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.problems import problem_response
from service.refusals import InvalidRequest
from service.request_options import FIELDS, read_options, split_fields

NAMES = st.sampled_from([*FIELDS["restore"].model_fields, "only[]", "sed", "", "\ud800"]) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda v: st.lists(v, max_size=3)
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_json_gives_options_or_a_refusal_that_can_be_written(fields):
    for kind in FIELDS:
        try:
            read_options(kind, fields)
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
