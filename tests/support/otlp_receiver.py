"""An OTLP/HTTP receiver: it decodes what exporters send with OpenTelemetry's published protocol buffers.

It may also be a broken one: `hang` takes requests and never answers, `refuse` answers 503.
"""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    """A span, with ids in hex and times in nanoseconds."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start_ns: int
    end_ns: int
    failed: bool
    state: str
    attributes: dict[str, object]
    links: tuple[tuple[str, str], ...]
    resource: dict[str, object]

    def within(self, other: "ReceivedSpan") -> bool:
        return other.start_ns <= self.start_ns <= self.end_ns <= other.end_ns


@dataclass
class Receiver:
    """What has arrived at `endpoint`; `bodies` as sent, uncompressed."""

    endpoint: str
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    spans: list[ReceivedSpan] = field(default_factory=list)

    def until(self, condition: Callable[[list[ReceivedSpan]], object], deadline_s: float = 60) -> list[ReceivedSpan]:
        """Returns all spans once the condition holds."""
        until_s = time.monotonic() + deadline_s
        while not condition(list(self.spans)):
            assert time.monotonic() < until_s, f"only {sorted(span.name for span in self.spans)} arrived"
            time.sleep(0.05)
        return list(self.spans)

    def of(self, trace: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.trace == trace]

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _values(resource.resource.attributes)
            self.spans += [_span(span, about) for scope in resource.scope_spans for span in scope.spans]


@contextmanager
def receiving(behavior: Literal["answer", "hang", "refuse"] = "answer") -> Iterator[Receiver]:
    """Receive on a free port of this machine."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            if behavior == "hang":
                ended.wait()
                return
            if behavior == "answer":
                receiver.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if behavior == "answer" and self.path == "/v1/traces" else 503)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _values(attributes) -> dict[str, object]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}


def _span(span, resource: dict[str, object]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name, kind=KINDS[span.kind], trace=span.trace_id.hex(), id=span.span_id.hex(),
        parent=span.parent_span_id.hex(), start_ns=span.start_time_unix_nano, end_ns=span.end_time_unix_nano,
        failed=span.status.code == 2, state=span.trace_state, attributes=_values(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links), resource=resource,
    )  # fmt: skip
