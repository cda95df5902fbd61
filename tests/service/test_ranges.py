"""Range and If-Range, by RFC 9110, 14.1.2, 14.2 and 13.1.5.  The first examples are those of the RFC."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.ranges import RangeNotSatisfiable, requested_range

TAG = '"a"'


@pytest.mark.parametrize(("header", "first", "last"), [
    ("bytes=0-499", 0, 499), ("bytes=500-999", 500, 999), ("bytes=-500", 9500, 9999), ("bytes=9500-", 9500, 9999),
    ("bytes=0-0", 0, 0), ("bytes=-1", 9999, 9999), ("bytes=9999-", 9999, 9999), ("bytes=0-", 0, 9999),
    ("bytes=500-20000", 500, 9999), ("bytes=-20000", 0, 9999), ("BYTES=1-2", 1, 2), (" bytes = 1 - 2 ", 1, 2),
    ("bytes=,1-2,", 1, 2), (f"bytes=0-{'9' * 5000}", 0, 9999),
])  # fmt: skip
def test_one_range_is_returned_within_the_size(header, first, last):
    part = requested_range(header, None, TAG, 10_000)
    assert (part.first, part.last, part.length) == (first, last, last - first + 1)
    assert part.content_range == f"bytes {first}-{last}/10000"


@pytest.mark.parametrize("header", [
    None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=1-2-3", "bytes=+1-2", "bytes=1.5-2",
    "bytes=0x1-2", "items=0-1", "lines=1-2", "bytes=0-1,4-5", "bytes=-1,0-", "bytes 0-1", "bytes=\u0661-\u0662",
])  # fmt: skip
def test_a_header_that_is_not_valid_or_asks_for_more_than_one_range_means_the_whole(header):
    assert requested_range(header, None, TAG, 10_000) is None


@pytest.mark.parametrize("header", ["bytes=10000-", "bytes=10000-10001", "bytes=-0", f"bytes={'9' * 5000}-"])
def test_a_range_after_the_end_cannot_be_satisfied(header):
    with pytest.raises(RangeNotSatisfiable) as refused:
        requested_range(header, None, TAG, 10_000)
    assert refused.value.status == 416 and refused.value.headers["Content-Range"] == "bytes */10000"


@pytest.mark.parametrize("if_range", ['W/"a"', '"b"', "a", "Fri, 27 Nov 2026 11:00:00 GMT", "*", '"a", "b"'])
def test_another_entity_tag_or_a_date_means_the_whole(if_range):
    assert requested_range("bytes=0-1", if_range, TAG, 10_000) is None
    assert requested_range("bytes=0-1", TAG, TAG, 10_000) is not None


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 200))
@example(0, 0, 1)
def test_a_range_is_the_slice_of_the_whole(first, last, size):
    whole = bytes(index % 251 for index in range(size))
    expected = whole[first : last + 1]
    if last < first:
        assert requested_range(f"bytes={first}-{last}", None, TAG, size) is None
    elif first >= size:
        with pytest.raises(RangeNotSatisfiable):
            requested_range(f"bytes={first}-{last}", None, TAG, size)
    else:
        part = requested_range(f"bytes={first}-{last}", None, TAG, size)
        assert whole[part.first : part.last + 1] == expected and part.length == len(expected)
    if last:
        part = requested_range(f"bytes=-{last}", None, TAG, size)
        assert whole[part.first : part.last + 1] == whole[-last:]


@given(st.text(alphabet="bytes=-,0123456789 ", max_size=30).map("bytes=".__add__) | st.text(max_size=20))
def test_no_header_breaks_the_parser(header):
    try:
        part = requested_range(header, None, TAG, 100)
    except RangeNotSatisfiable:
        return
    if part is not None:
        assert 0 <= part.first <= part.last < 100 and re.search(r"\d", header)
