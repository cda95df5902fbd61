"""What the client asks of a network, without a network: effects that a flow yields and a driver performs.

A flow is a generator.  It yields one effect after the other, gets the answer of each, and returns a value.  The same
flows serve `Client` and `AsyncClient`: drive.py performs the effects with httpx in a thread or on an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class TransportFailure(Exception):
    """The connection could not be opened, was broken, or stalled."""


@dataclass(frozen=True)
class Request:
    """An HTTP request; `url` is a path of the server, or a whole URL of another one.

    `timeout_s` limits each silence of the server, and `total_s` the whole answer, where it is not a stream.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout_s: float = 30.0
    total_s: float | None = None


@dataclass(frozen=True)
class Response:
    """An HTTP response; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Send:
    """Send a request; the answer is a Response.  Raises TransportFailure."""

    request: Request


@dataclass(frozen=True)
class OpenStream:
    """Send a request and leave its response open; the answer is a Response, with a body only where it is an error.

    Raises TransportFailure.
    """

    request: Request


@dataclass(frozen=True)
class ReadChunk:
    """Read from the open response; the answer is bytes, or None at its end.  Raises TransportFailure."""


@dataclass(frozen=True)
class CloseStream:
    """Close the open response."""


@dataclass(frozen=True)
class Sleep:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Emit:
    """Give a value to the caller, who iterates over them."""

    value: Any


Effect = Send | OpenStream | ReadChunk | CloseStream | Sleep | Emit
Flow = Generator[Effect, Any, T]


class Deadline:
    """A moment, or none, by a clock in seconds."""

    def __init__(self, seconds: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at_s = None if seconds is None else now() + seconds

    def within(self, seconds: float) -> Deadline:
        """Return this deadline, or an earlier one so many seconds from now."""
        return Deadline(min(self.left_s(), seconds), self._now)

    def left_s(self) -> float:
        """Return the seconds until the deadline, infinite without one, never negative."""
        return float("inf") if self._at_s is None else max(0.0, self._at_s - self._now())
