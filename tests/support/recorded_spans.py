"""A tracer that keeps its spans in memory: for tests of who starts which span, when, and under what."""

from dataclasses import dataclass, field

from jobs.tracing.context import TraceContext


@dataclass
class RecordedSpan:
    tracer: "Recorder"
    name: str
    parent: TraceContext | None
    context: TraceContext
    kind: str
    attributes: dict[str, object]
    links: tuple[TraceContext, ...]
    start_s: float | None
    ends: list[float | None] = field(default_factory=list)
    error: str | None = None
    recorded: bool = True

    def rename(self, name):
        self.name = name

    def set(self, attributes):
        self.attributes |= attributes

    def fail(self, error_type):
        self.error = self.error or error_type

    def child(self, name, **options):
        return self.tracer.start(name, self.context, **options)

    def end(self, end_s=None):
        self.ends.append(end_s)


@dataclass
class Recorder:
    spans: list[RecordedSpan] = field(default_factory=list)
    enabled: bool = True

    def start(self, name, parent, *, kind="internal", attributes=None, start_s=None, links=()):
        number = len(self.spans) + 1
        trace_id = parent.trace_id if parent else f"{number:032x}"
        context = TraceContext(trace_id=trace_id, span_id=f"{number:016x}", flags=1)
        span = RecordedSpan(self, name, parent, context, kind, dict(attributes or {}), tuple(links), start_s)
        self.spans.append(span)
        return span

    def close(self): ...

    def named(self, name):
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def parents(self):
        """The name of each span's parent, by the span's name."""
        names = {span.context: span.name for span in self.spans}
        return {span.name: names.get(span.parent) for span in self.spans}
