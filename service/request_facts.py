"""What is known of the request that runs now: its id, its key and its job, for every line of its log and its span.

The facts are structlog's context variables, so each event of the request has them without naming them.
"""

from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from jobs.request_context import RequestContext
from jobs.tracing.spans import Span, current_span

ATTRIBUTES = {"request_id": "undegrade.request.id", "key_id": "undegrade.key.id", "job": "undegrade.job.id"}
"""The facts that the request's span has, too."""


def begin_request(request_id: str, span: Span) -> None:
    """Forget the facts of an earlier request, and note the id and the trace of this one."""
    clear_contextvars()
    bind_contextvars(request_id=request_id)
    span.set({ATTRIBUTES["request_id"]: request_id})
    if span.context is not None:
        bind_contextvars(trace_id=span.context.trace_id)


def note(**facts: str | None) -> None:
    """Note facts: `key_id` is the id of the API key, never the key; `job` the id of the job that the request is about.

    Call it in the request's own task: a child task has a copy of the facts.
    """
    known = {name: value for name, value in facts.items() if value is not None}
    bind_contextvars(**known)
    current_span().set({ATTRIBUTES[name]: value for name, value in known.items()})


def request_context() -> RequestContext:
    """Returns what a job keeps of the request that submits it; its spans become children of the current one."""
    return RequestContext.of(get_contextvars().get("request_id"), current_span().context)
