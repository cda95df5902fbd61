"""Tracers and spans as the service and the workers use them.  `NO_TRACER` records nothing and costs almost nothing.

Attributes never hold pictures, prompts, file names, keys or messages of errors: an error is named by its class or code.
Times are seconds since 1970; None is now.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from jobs.tracing.context import TraceContext

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """One operation.  `context` is None where there is no trace; `recorded` says whether it will be exported."""

    @property
    def context(self) -> TraceContext | None: ...
    @property
    def recorded(self) -> bool: ...
    def rename(self, name: str) -> None: ...
    def set(self, attributes: Attributes) -> None: ...
    def fail(self, error_type: str) -> None:
        """Mark the operation as failed.  The first failure counts."""
        ...

    def child(
        self, name: str, *, kind: Kind = "internal", attributes: Attributes | None = None, start_s: float | None = None,
        links: Sequence[TraceContext] = (),
    ) -> "Span":  # fmt: skip
        """Start a part of this operation."""
        ...

    def end(self, end_s: float | None = None) -> None:
        """End the span.  Only the first end counts."""
        ...


class Tracer(Protocol):
    """Starts the spans of one process.  `enabled` is False where every span is lost."""

    @property
    def enabled(self) -> bool: ...
    def start(
        self, name: str, parent: TraceContext | None, *, kind: Kind = "internal", attributes: Attributes | None = None,
        start_s: float | None = None, links: Sequence[TraceContext] = (),
    ) -> Span:  # fmt: skip
        """Start a span; without a parent it begins a trace of its own."""
        ...

    def close(self) -> None:
        """Send what is left.  Returns within CLOSE_S, whatever the collector does."""
        ...


class NoSpan:
    """Records nothing, and passes on the context that it was given."""

    recorded = False

    def __init__(self, context: TraceContext | None = None) -> None:
        self.context = context

    def rename(self, name: str) -> None: ...
    def set(self, attributes: Attributes) -> None: ...
    def fail(self, error_type: str) -> None: ...
    def end(self, end_s: float | None = None) -> None: ...

    def child(
        self, name: str, *, kind: Kind = "internal", attributes: Attributes | None = None, start_s: float | None = None,
        links: Sequence[TraceContext] = (),
    ) -> "Span":  # fmt: skip
        return self


class NoTracer:
    """Records nothing."""

    enabled = False

    def start(
        self, name: str, parent: TraceContext | None, *, kind: Kind = "internal", attributes: Attributes | None = None,
        start_s: float | None = None, links: Sequence[TraceContext] = (),
    ) -> Span:  # fmt: skip
        return NoSpan(parent) if parent else NO_SPAN

    def close(self) -> None: ...


NO_SPAN: Span = NoSpan()
NO_TRACER: Tracer = NoTracer()
_current: ContextVar[Span] = ContextVar("undegrade_span", default=NO_SPAN)


def current_span() -> Span:
    """Returns the span of the operation that runs now."""
    return _current.get()


@contextmanager
def running(span: Span) -> Iterator[Span]:
    """Make a span the current one, and end it with the block; an error that leaves the block fails it."""
    token = _current.set(span)
    try:
        yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        _current.reset(token)
        span.end()


@contextmanager
def child_span(name: str, *, kind: Kind = "internal", attributes: Attributes | None = None) -> Iterator[Span]:
    """Run the block as a part of the current span."""
    with running(_current.get().child(name, kind=kind, attributes=attributes)) as span:
        yield span
