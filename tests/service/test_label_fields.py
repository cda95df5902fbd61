"""The field `labels` in each of its forms."""

import json

import pytest

from service.refusals import InvalidRequest
from service.request_options import read_options, split_fields

LABELS = {"team": "red", "album": "Summer 2026"}


@pytest.mark.parametrize(
    "texts",
    [["team=red,album=Summer 2026"], ["team=red", "album=Summer 2026"], [" team = red , album = Summer 2026 ,"],
     [json.dumps(LABELS)], ['{"team": "red"}', "album=Summer 2026"]],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["restore", "detect"])
def test_a_form_may_write_labels_in_several_ways(kind, texts):
    fields = split_fields([("labels", text) for text in texts])
    assert read_options(kind, fields).labels == LABELS


def test_json_has_an_object_and_no_field_means_no_labels():
    assert read_options("restore", {}, {"labels": LABELS}).labels == LABELS
    assert read_options("restore", {}, {"labels": None}).labels == {} == read_options("restore", {}).labels


@pytest.mark.parametrize("value", ["", "a=b", "ä, ö", "x" * 256, '{"'])
def test_a_value_may_hold_any_text_that_prints(value):
    assert read_options("restore", split_fields([("labels", json.dumps({"k": value}))])).labels == {"k": value}


@pytest.mark.parametrize(
    "labels",
    [{"Team": "x"}, {"": "x"}, {"a b": "x"}, {"k" * 64: "x"}, {"k": "x" * 257}, {"k": "a\nb"}, {"k": "\x00"},
     {"k": "\ud800"}, {"k": 1}, {"k": None}, {"k": ["x"]}, {str(number): "x" for number in range(17)}],
)  # fmt: skip
def test_other_labels_are_refused_by_name(labels):
    for fields, strict in (({}, {"labels": labels}), ({"labels": [json.dumps(labels)]}, {})):
        with pytest.raises(InvalidRequest) as refused:
            read_options("restore", fields, strict)
        assert refused.value.extra["errors"][0]["field"] == "labels"


@pytest.mark.parametrize("texts", [["team"], ["team=a,team=b"], ["team=a", "team=b"], ["{bad"], ["=x"]])
def test_texts_that_are_no_labels_are_refused(texts):
    with pytest.raises(InvalidRequest, match="labels"):
        read_options("restore", split_fields([("labels", text) for text in texts]))
