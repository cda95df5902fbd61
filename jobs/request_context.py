"""Where a job came from: the id of its request, and its place in a trace.  It travels beside the spec in the record."""

from pydantic import ConfigDict, ValidationError

from jobs.stored_model import StoredModel
from jobs.tracing.context import TraceContext, read_context


class RequestContext(StoredModel):
    """The request that submitted a job.

    Unknown fields are ignored and a damaged context is an empty one: another version may have written it, and it must
    never keep a job from running.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    request_id: str | None = None
    traceparent: str | None = None
    tracestate: str = ""

    @classmethod
    def of(cls, request_id: str | None, trace: TraceContext | None) -> "RequestContext":
        """Returns the context of a request whose job becomes a child of the span `trace`."""
        if trace is None:
            return cls(request_id=request_id)
        return cls(request_id=request_id, traceparent=trace.traceparent, tracestate=trace.state)

    @property
    def trace(self) -> TraceContext | None:
        """The span to which the job's spans belong."""
        return read_context([self.traceparent], [self.tracestate]) if self.traceparent else None

    @property
    def trace_id(self) -> str | None:
        return self.trace.trace_id if self.trace else None

    def dump(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


NO_REQUEST = RequestContext()


def read_request_context(text: str | bytes | None) -> RequestContext:
    """Read what `dump` wrote."""
    try:
        return RequestContext.model_validate_json(text or b"{}")
    except ValidationError:
        return NO_REQUEST
