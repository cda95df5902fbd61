"""The W3C trace context, by the rules and examples of the recommendation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jobs.request_context import NO_REQUEST, RequestContext, read_request_context
from jobs.tracing.context import TraceContext, read_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_context_is_read_and_written_again():
    context = read_context([PARENT], ["rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE"])
    assert context == TraceContext(
        trace_id=TRACE, span_id=SPAN, flags=1, state="rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    )
    assert context.sampled and context.traceparent == PARENT


@pytest.mark.parametrize("headers", [
    [], [PARENT, PARENT], [PARENT.upper()], [f"ff-{TRACE}-{SPAN}-01"], [f"{PARENT}-what"], [f"00-{'0' * 32}-{SPAN}-01"],
    [f"00-{TRACE}-{'0' * 16}-01"], [f"00-{TRACE}-{SPAN}"], [f"00-{TRACE}x-{SPAN}-01"], [PARENT + "\n"], ["é"],
])  # fmt: skip
def test_a_context_that_the_recommendation_calls_invalid_is_ignored(headers):
    assert read_context(headers) is None


def test_a_later_version_may_have_more_fields():
    assert read_context([f"cc-{TRACE}-{SPAN}-01-more"]).span_id == SPAN


TOO_MANY = ",".join(f"k{number}=1" for number in range(33))
PARENTS = [PARENT, f"00-{TRACE}-{SPAN}-00", f"00-{'f' * 32}-{'1' * 16}-01"]


@pytest.mark.parametrize("state", ["a=1,a=2", "A=1", "a", "a=" + "x" * 600, "a=b=c", TOO_MANY])
def test_an_invalid_state_is_dropped_and_the_trace_goes_on(state):
    context = read_context([PARENT], [state])
    assert (context.trace_id, context.state) == (TRACE, "")


@given(st.sampled_from(PARENTS) | st.text(max_size=60), st.sampled_from(["", "a=1", "a=1, b@c=2", "vendor=x y"]))
def test_opentelemetry_reads_the_same_context(parent, state):
    theirs = get_current_span(
        TraceContextTextMapPropagator().extract({"traceparent": parent, "tracestate": state})
    ).get_span_context()  # fmt: skip
    ours = read_context([parent], [state])
    if theirs.is_valid and parent.isascii():
        assert ours is not None
        assert (int(ours.trace_id, 16), int(ours.span_id, 16)) == (theirs.trace_id, theirs.span_id)
        assert ours.state.replace(" ", "") == theirs.trace_state.to_header().replace(" ", "")
    elif ours is not None:
        raise AssertionError(f"only we read {parent!r}")


def test_what_a_job_keeps_of_its_request_is_read_again():
    kept = RequestContext.of("r-1", read_context([PARENT], ["a=1"]))
    assert read_request_context(kept.dump()) == kept and kept.trace_id == TRACE
    assert read_request_context(RequestContext.of(None, None).dump()) == NO_REQUEST


@pytest.mark.parametrize("text", [None, b"", b"{", b"[]", b'{"request_id": 5}', b'{"newer": {"field": 1}}'])
def test_what_another_version_kept_never_stops_a_job(text):
    assert read_request_context(text) == NO_REQUEST
