"""Reads server-sent events (WHATWG HTML, section 9.2) from chunks of bytes that may end anywhere."""

from __future__ import annotations

import json
import re

from undegrade_client.views import Event

_DIGITS = re.compile(r"[0-9]{1,12}")  # str.isdigit() also takes digits that int() refuses


class EventParser:
    """Returns the complete events of each chunk.  `retry_s` is the server's wish for the pause before a reconnect."""

    def __init__(self) -> None:
        self.retry_s: float | None = None
        self._pieces: list[bytes] = []  # of a line that is not complete
        self._id = self._type = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """Take bytes of the stream."""
        self._pieces.append(chunk)
        if b"\n" not in chunk:  # a long line is joined once, not with each of its chunks
            return []
        *lines, rest = b"".join(self._pieces).replace(b"\r\n", b"\n").split(b"\n")
        self._pieces = [rest]
        events = [self._take(line.decode("utf-8", "replace")) for line in lines]
        return [event for event in events if event is not None]

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\0" not in value:
            self._id = value
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry" and _DIGITS.fullmatch(value):
            self.retry_s = int(value) / 1000
        return None  # lines of other names and comments (":...") are no part of an event

    def _dispatch(self) -> Event | None:
        data, kind = "\n".join(self._data), self._type or "message"
        self._data, self._type = [], ""
        if not data:
            return None
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):  # the second: it is nested too deeply
            content = {"text": data}
        return Event(id=self._id, type=kind, data=content if isinstance(content, dict) else {"value": content})
