"""The tracer that exports: OpenTelemetry's SDK and its OTLP/HTTP exporter.

The SDK reads the OTEL_* variables itself: endpoint, headers, sampler, resource, limits, and the queue of the exporter.
That queue is bounded and has a thread of its own, so a slow or dead collector costs spans and never time.  The provider
is not made global: libraries that would trace requests on their own, such as FastAPI, find none.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from jobs.tracing.context import TraceContext
from jobs.tracing.spans import Attributes, Kind, Span

log = structlog.get_logger()
CLOSE_S = 2.0
"""How long the end of a process waits for the last spans."""
REPORT_EVERY_S = 60.0
_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER,
}  # fmt: skip


class OtelSpan:
    """A span of OpenTelemetry, which counts nanoseconds."""

    def __init__(self, tracer: "OtelTracer", span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self.context: TraceContext | None = _read(span.get_span_context())
        self._failed = False

    @property
    def recorded(self) -> bool:
        return self._span.get_span_context().trace_flags.sampled

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        if self._span.is_recording():
            self._span.set_attributes(attributes)

    def fail(self, error_type: str) -> None:
        if not self._failed and self._span.is_recording():
            self._failed = True
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(Status(StatusCode.ERROR))

    def child(
        self, name: str, *, kind: Kind = "internal", attributes: Attributes | None = None, start_s: float | None = None,
        links: Sequence[TraceContext] = (),
    ) -> Span:  # fmt: skip
        return self._tracer.start(name, self.context, kind=kind, attributes=attributes, start_s=start_s, links=links)

    def end(self, end_s: float | None = None) -> None:
        if self._span.is_recording():
            self._span.end(_ns(end_s))


class OtelTracer:
    """Exports the spans of one process, which calls itself `service` unless OTEL_SERVICE_NAME says otherwise."""

    enabled = True

    def __init__(self, service: str, version: str) -> None:
        ours = Resource.create({"service.name": service, "service.version": version, "process.pid": os.getpid()})
        named = OTELResourceDetector().detect()  # OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME
        self._processor = BatchSpanProcessor(_ReportingExporter(OTLPSpanExporter()))
        self._provider = TracerProvider(resource=ours.merge(named), shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("undegrade", version)
        # From now on it would complain about each batch, and of a full queue about each span; `tracing.lost` is enough
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)

    def start(
        self, name: str, parent: TraceContext | None, *, kind: Kind = "internal", attributes: Attributes | None = None,
        start_s: float | None = None, links: Sequence[TraceContext] = (),
    ) -> Span:  # fmt: skip
        above = NonRecordingSpan(_written(parent)) if parent else trace.INVALID_SPAN
        context = trace.set_span_in_context(above, Context())
        span = self._tracer.start_span(
            name, context, kind=_KINDS[kind], attributes=attributes, start_time=_ns(start_s),
            links=[Link(_written(link)) for link in links],
        )  # fmt: skip
        return OtelSpan(self, span)

    def close(self) -> None:
        # In a thread that dies with the process: an export in progress cannot be interrupted
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(CLOSE_S)


class _ReportingExporter(SpanExporter):
    """Logs that spans are lost, at most once a minute, without the endpoint: its URL may hold secrets."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost, self._reported_s = 0, float("-inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._report(len(spans), type(error).__name__)
            return SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._report(len(spans), "the collector does not answer, or refuses them")
        return result

    def _report(self, spans: int, why: str) -> None:
        self._lost += spans
        if time.monotonic() - self._reported_s >= REPORT_EVERY_S:
            self._reported_s = time.monotonic()
            log.warning("tracing.lost", spans=self._lost, error=why)
            self._lost = 0

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def _read(context: SpanContext) -> TraceContext | None:
    if not context.is_valid:
        return None
    return TraceContext(
        trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}", flags=int(context.trace_flags),
        state=context.trace_state.to_header(),
    )  # fmt: skip


def _written(context: TraceContext) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=TraceFlags(context.flags),
        trace_state=TraceState.from_header([context.state] if context.state else []),
    )  # fmt: skip
