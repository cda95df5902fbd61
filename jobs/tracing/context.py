"""The W3C trace context (https://www.w3.org/TR/trace-context/): which trace and which span something belongs to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_STATE_BYTES = 512
MAX_STATE_MEMBERS = 32
KNOWN_FLAGS = 0x03
"""Sampled, and level 2's "the trace id is random"."""
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_STATE_MEMBER = re.compile(rf"[a-z0-9][a-z0-9_*/@-]{{0,255}}={_STATE_VALUE}")


@dataclass(frozen=True, kw_only=True)
class TraceContext:
    """A span, as another process knows it.  `trace_id` has 32 and `span_id` 16 lowercase hex digits."""

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    @property
    def sampled(self) -> bool:
        return bool(self.flags & 1)

    @property
    def traceparent(self) -> str:
        """The value of the header `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def read_context(traceparents: Sequence[str], tracestates: Sequence[str] = ()) -> TraceContext | None:
    """Read the headers of one request; None where there is no valid context.  An invalid `tracestate` is dropped."""
    found = _TRACEPARENT.fullmatch(traceparents[0].strip(" \t")) if len(traceparents) == 1 else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    state = _read_state(tracestates)
    return TraceContext(trace_id=trace_id, span_id=span_id, flags=int(flags, 16) & KNOWN_FLAGS, state=state)


def _read_state(tracestates: Sequence[str]) -> str:
    members = [member.strip(" \t") for text in tracestates for member in text.split(",")]
    members = [member for member in members if member]
    keys = [member.partition("=")[0] for member in members]
    state = ",".join(members)
    valid = all(_STATE_MEMBER.fullmatch(member) for member in members) and len(set(keys)) == len(keys)
    return state if valid and len(members) <= MAX_STATE_MEMBERS and len(state) <= MAX_STATE_BYTES else ""
