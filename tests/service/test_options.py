"""Fields, whatever people send: an order or a refusal, never a crash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.options import DetectOrder, RestoreOrder, gathered, read_order
from service.problems import problem_response
from service.refusals import InvalidRequest

NAMES = st.sampled_from([*RestoreOrder.model_fields, "only[]", "sed", "", "\ud800"]) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda v: st.lists(v, max_size=3)
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_json_of_any_kind_is_an_order_or_a_refusal_that_can_be_written(fields):
    for model in (RestoreOrder, DetectOrder):
        try:
            read_order(model, fields)
        except InvalidRequest as refusal:
            assert json.loads(problem_response(refusal, "x").body)["errors"]


@given(st.lists(st.tuples(NAMES, st.text(max_size=8)), max_size=4))
def test_a_form_of_any_kind_too(pairs):
    try:
        read_order(RestoreOrder, gathered(pairs))
    except InvalidRequest as refusal:
        assert json.loads(problem_response(refusal, "x").body)["errors"]


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("0", False), ("1", True)])
def test_words_of_a_form_are_understood(text, value):
    assert read_order(RestoreOrder, gathered([("metadata", text)])).metadata is value


def test_all_problems_are_told_at_once():
    with pytest.raises(InvalidRequest) as refused:
        read_order(RestoreOrder, {"strength": 2, "wobble": 1, "steps": 0})
    assert {error["field"] for error in refused.value.more["errors"]} == {"strength", "wobble", "steps"}
