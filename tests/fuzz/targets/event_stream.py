"""The client's reader of server-sent events: what it reads does not depend on where the network cuts the stream."""

from undegrade_client.event_stream import EventParser

MOST_CHUNKS = 256


def seeds() -> list[bytes]:
    """The first byte says how long the chunks are."""
    streams = [
        b'id: 1-0\nevent: queued\ndata: {}\n\nid: 2-0\nevent: step.progress\ndata: {"fraction": 0.5}\n\n',
        b": comment\nretry: 2000\ndata: a\ndata: b\n\n",
        b'data: [1, 2]\r\n\r\nevent: completed\r\ndata: {"state": "succeeded"}\r\n\r\n',
        "retry: \u00b2\n\n".encode(),
        b"data: " + b"[" * 40 + b"\n\n",
    ]
    return [b"\x04" + stream for stream in streams]


def run(data: bytes) -> None:
    cut, stream = (data[0], data[1:]) if data else (0, b"")
    whole, parts = EventParser(), EventParser()
    events = whole.feed(stream)
    size = max(1 + cut % 16, len(stream) // MOST_CHUNKS)
    in_parts = [event for at in range(0, len(stream), size) for event in parts.feed(stream[at : at + size])]
    assert repr(in_parts) == repr(events), "the events depend on the chunks"
    assert whole.retry_s == parts.retry_s
    for event in events:
        assert event.fraction is None or isinstance(event.fraction, float)
        assert isinstance(event.final, bool)
