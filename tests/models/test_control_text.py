"""Controls as text: of forms, of query strings and of the command line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.control_text import parse_crop, parse_strength
from models.errors import ControlsError
from models.vocabulary import DEGRADATIONS

NAMES = [entry.name for entry in DEGRADATIONS]


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1).map(lambda share: round(share, 6)), min_size=1))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_shares_are_read_from_both_forms(shares):
    assert parse_strength(json.dumps(shares)) == shares
    assert parse_strength(", ".join(f"{name} = {share!r}" for name, share in shares.items())) == shares


@pytest.mark.parametrize(("text", "strength"), [
    ("0.5", 0.5), ("1", 1.0), ("fog=0.2", {"haze": 0.2}), ('{"Low Light": 1}', {"low-light": 1.0}),
])  # fmt: skip
def test_a_strength_is_a_number_or_shares_by_canonical_names(text, strength):
    assert parse_strength(text) == strength


@pytest.mark.parametrize(("text", "sentence"), [
    ("much", "a number from 0 to 1, or shares"), ("", "a number"),
    ("noise=", "shares such as"), ("=1", "shares such as"),
    ("noise=0.3;haze=1", "shares such as"), ("noise=0.3,", "shares such as"), ("nosie=1", "Did you mean 'noise'"),
    ("noise=1,grain=0", "given twice"), ("noise=1,noise=1", "given twice"), ('{"noise": 1, "noise": 0}', "given twice"),
    ('{"noise": true}', "JSON object"), ('{"noise": "1"}', "JSON object"), ("{", "JSON object"), ('{"a": [1]}', "JSON"),
    ("clean=1", "no repair"), ("{" * 100_000, "JSON object"),
])  # fmt: skip
def test_another_text_is_refused_with_what_is_expected(text, sentence):
    with pytest.raises(ControlsError, match=sentence):
        parse_strength(text)


def test_a_crop_is_four_whole_numbers():
    assert parse_crop("10, 0,300,200") == (10, 0, 300, 200)
    for text in ("", "1,2,3", "1,2,3,4,5", "-1,0,2,2", "1.5,0,2,2", "a,b,c,d", "0,0,0,5", "0,0,5,0", "١,0,2,2"):
        with pytest.raises(ControlsError, match="x,y,width,height"):
            parse_crop(text)
