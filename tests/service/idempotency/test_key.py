"""The header Idempotency-Key.  The strings in quotes are those of RFC 9651, 3.3.3."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.idempotency.key import MAX_CHARACTERS, PATTERN, read_key
from service.idempotency.refusals import BadIdempotencyKey


@pytest.mark.parametrize(("value", "key"), [
    ("abc", "abc"), ('"abc"', "abc"), (" abc\t", "abc"), ("8e03978e-40d5-43dd-bc93-6894a57f9324",) * 2,
    (r'"a \"b\" \\c"', r'a "b" \c'), ("a b, c;d=1", "a b, c;d=1"), ("x" * 255, "x" * 255),
    ('"' + "x" * 255 + '"', "x" * 255),
])  # fmt: skip
def test_a_key_is_read_with_and_without_quotes(value, key):
    assert read_key([value]) == key


@pytest.mark.parametrize("values", [
    [""], ["  "], ['""'], ['" "'], ["a", "b"], ["a", "a"], ["x" * 256], ['"abc'], ['"a"b"'], ['"a\\b"'], ['"a";p=1'],
    ["a\x7f"], ["a\tb"], ["é"], ['"é"'], ["\x00"],
])  # fmt: skip
def test_another_key_is_refused_with_a_hint(values):
    with pytest.raises(BadIdempotencyKey) as refused:
        read_key(values)
    assert refused.value.hint and refused.value.status == 400


def test_a_request_without_the_header_has_no_key():
    assert read_key([]) is None


PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "


@settings(max_examples=30)
@given(st.from_regex(PATTERN, fullmatch=True).filter(lambda value: len(value) <= MAX_CHARACTERS))
def test_every_key_of_the_documented_pattern_is_read(value):
    assert read_key([value])


@given(st.text(alphabet=PRINTABLE, min_size=1, max_size=40))
def test_a_key_is_read_only_where_it_fits_the_documented_pattern(value):
    try:
        read_key([value])
    except BadIdempotencyKey:
        assert not re.search(PATTERN, value.strip())
    else:
        assert re.search(PATTERN, value.strip())


@given(st.text(alphabet=PRINTABLE, min_size=1, max_size=MAX_CHARACTERS).filter(str.strip))
def test_every_printable_key_can_be_sent_in_quotes(key):
    escaped = key.replace("\\", r"\\").replace('"', r"\"")
    assert read_key([f'"{escaped}"']) == key
