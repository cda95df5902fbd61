"""Server-sent events, by the rules of WHATWG HTML, from chunks that end anywhere."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from undegrade_client.event_stream import EventParser

STREAM = (
    "retry: 1500\n\n: a comment\n\nid: 1-0\nevent: queued\ndata: {}\n\nid: 2-0\r\nevent: detected\r\n"
    'data: {"degradations": {"näß": 0.5}}\r\n\r\nid:3-0\nevent:step.progress\ndata:{"fraction":\ndata: 0.25}\n\n'
    ": keep-alive\n\nevent: nothing\n\nid: 4-0\nevent: completed\ndata: {}\n\nid: 5-0\ndata: cut off"
).encode()
TYPES = [("1-0", "queued"), ("2-0", "detected"), ("3-0", "step.progress"), ("4-0", "completed")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_are_the_same_wherever_chunks_end(cuts):
    borders = [0, *sorted(cuts), len(STREAM)]
    parser = EventParser()
    events = [event for a, b in pairwise(borders) for event in parser.feed(STREAM[a:b])]
    assert [(event.id, event.type) for event in events] == TYPES
    assert events[1].data == {"degradations": {"näß": 0.5}}
    assert [event.fraction for event in events] == [None, None, 0.25, 1.0]
    assert [event.final for event in events] == [False, False, False, True]
    assert parser.retry_s == 1.5


def test_data_that_is_no_json_object_is_kept():
    assert [event.data for event in EventParser().feed(b"data: hello\n\ndata: [1]\n\n")] == [
        {"text": "hello"}, {"value": [1]},
    ]  # fmt: skip
