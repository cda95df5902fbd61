"""The fingerprint is equal for a request in other words, and different for each change of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.idempotency.fingerprint import fingerprint

SCALARS = st.text(max_size=20) | st.integers(-(2**60), 2**60) | st.floats(0, 1) | st.booleans()
VALUES = SCALARS | st.lists(st.text(min_size=1, max_size=8), max_size=4) | st.dictionaries(st.text(max_size=6), SCALARS)
FIELDS = st.dictionaries(st.text(min_size=1, max_size=10), VALUES, max_size=6)


@given(FIELDS, st.randoms())
def test_the_order_of_the_fields_does_not_count(fields, random):
    names = list(fields)
    random.shuffle(names)
    assert fingerprint("POST /restore", {name: fields[name] for name in names}) == fingerprint("POST /restore", fields)


@given(FIELDS, st.data())
def test_each_changed_field_counts(fields, data):
    present = {name: value for name, value in fields.items() if value not in ("", None)}
    name = data.draw(st.sampled_from([*present, "another"]))
    changed = {**present, name: str(present.get(name, "")) + "x"}
    assert fingerprint("POST /restore", changed) != fingerprint("POST /restore", present)


@given(FIELDS)
def test_route_and_image_count(fields):
    prints = {
        fingerprint(route, fields, content) for route in ("POST /restore", "POST /detect") for content in ("", "a", "b")
    }
    assert len(prints) == 6


@pytest.mark.parametrize(("form", "body"), [
    ({"strength": "0.8", "steps": "50"}, {"steps": 50.0, "strength": 0.8}),
    ({"color_fix": "true"}, {"color_fix": True}),
    ({"only": ["noise", "blur"]}, {"only": ["noise", "blur"]}), ({}, {"prompt": None}), ({"prompt": ""}, {}),
])  # fmt: skip
def test_a_form_and_json_of_the_same_request_are_equal(form, body):
    parsed = json.loads(json.dumps(body))
    assert fingerprint("POST /restore", form, "c0ffee") == fingerprint("POST /restore", parsed, "c0ffee")
