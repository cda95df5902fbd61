"""The HTTP connection: uvicorn's, with limits on the size and the slowness of requests.

uvicorn's fast parser limits neither.  Without limits, a few thousand silent connections take every file descriptor, and
one endless header takes the memory.  A client that reads its response too slowly is dropped, too.

Every refusal is a problem (RFC 9457), also that of bytes which are not HTTP.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.problems import problem_response
from service.refusals import Refusal
from service.request_refusals import HeadersTooLarge, MalformedRequest, RequestTimedOut, UriTooLong

MAX_URL_BYTES = 16 * 1024
MAX_HEADER_BYTES = 32 * 1024
"""Of all headers of a request, and of its whole head while that arrives."""
MAX_HEADERS = 100
LINGER_S = 2.0
"""Time to read a refusal.  What a client still sends is thrown away."""
LINGER_BODY_S, LINGER_BODY_BYTES = 30.0, 10_000_000
"""Time to send the rest of a body after its response, while some arrives every LINGER_S, and its most bytes.  They are
thrown away."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the service waits for a slow client.

    Attributes:
        head_s: for the request line and the headers.
        stall_s: a body must bring `min_bytes_per_s` on average over every such time, and a response must be read.
    """

    head_s: float = 20.0
    stall_s: float = 30.0
    min_bytes_per_s: int = 1000


def connection_class(patience: Patience, prefix: str = "") -> "type[HttpToolsProtocol]":
    """Return the protocol class for `uvicorn.Config(http=...)`; `prefix` is the setting of the root path."""
    return type("PatientConnection", (_Connection,), {"patience": patience, "prefix": prefix})


class _Connection(HttpToolsProtocol):
    patience = Patience()
    prefix = ""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **keywords)
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._in_head = self._in_body = self._lingers = False
        self._head_bytes = self._header_bytes = self._body_bytes = self._lingered_bytes = 0
        self._refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._read_timer)
        self._stop(self._write_timer)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None or self.transport.is_closing():  # the answer is on its way; the rest is not read
            return
        if not self._in_head and not self._in_body:
            self._head_bytes = 0
            self._expect_head()  # also where only empty lines arrive
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._refusal is None and self._head_bytes > MAX_HEADER_BYTES + MAX_URL_BYTES:
            self._refuse(HeadersTooLarge(f"the head of the request has more than {MAX_HEADER_BYTES:,} bytes"))

    # Parser callbacks.  An exception here ends in `send_400_response`.

    def on_message_begin(self) -> None:
        if self._lingers:
            raise ValueError("no request is read after a response that closes the connection")
        self._in_head, self._header_bytes = True, 0
        self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._raise(UriTooLong(f"the URL has more than {MAX_URL_BYTES:,} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._raise(HeadersTooLarge(f"the headers have more than {MAX_HEADER_BYTES:,} bytes"))
        if len(self.headers) >= MAX_HEADERS:
            self._raise(HeadersTooLarge(f"the request has more than {MAX_HEADERS} headers"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        super().on_headers_complete()
        self.cycle.transport = _late_closing(self.transport, partial(self._close_after_body, self.cycle))
        self._expect_body()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)
        if self._lingers:
            self._lingered_bytes += len(body)
            if self._lingered_bytes > LINGER_BODY_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        self._in_body, self._head_bytes = False, 0
        self._stop(self._read_timer)
        self._read_timer = None
        super().on_message_complete()
        if self._lingers:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.patience.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(self._write_timer)

    # Timers

    def _expect_head(self) -> None:
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(self.patience.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._read_timer = None
        if not self._in_head and self.cycle is not None and not self.cycle.response_complete:
            return  # an empty line after a body whose response is still to come
        detail = f"the head of the request did not arrive within {self.patience.head_s:g} s"
        if self._in_head:
            self._refuse(RequestTimedOut(detail))
        else:  # a silent connection asked nothing
            self.transport.close()

    def _expect_body(self) -> None:
        self._stop(self._read_timer)
        self._body_bytes = 0
        self._read_timer = self.loop.call_later(self.patience.stall_s, self._check_body)

    def _check_body(self) -> None:
        enough = self.patience.stall_s * self.patience.min_bytes_per_s
        if self.flow.read_paused or self._body_bytes >= enough:  # while it is paused, we are the slow side
            self._expect_body()
            return
        self._refuse(RequestTimedOut(f"the body brought less than {enough:,.0f} bytes in {self.patience.stall_s:g} s"))

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

    # Refusals

    def _close_after_body(self, cycle: RequestResponseCycle) -> None:
        """Close the connection after a response that came before the end of its request's body.

        A client that still sends would not read the response: the kernel answers bytes at a closed socket with a reset.
        Node and browsers send a form after the headers, so this also happens with small images.
        """
        if self._in_body and cycle is self.cycle:
            self._lingers = True
            self._linger(self.loop.time() + LINGER_BODY_S)
        else:
            self.transport.close()

    def _linger(self, until_s: float) -> None:
        self._stop(self._read_timer)
        self._body_bytes = 0
        self._read_timer = self.loop.call_later(LINGER_S, self._linger_or_close, until_s)

    def _linger_or_close(self, until_s: float) -> None:
        if self._body_bytes and self.loop.time() < until_s:
            self._linger(until_s)
        else:
            self.transport.close()

    def _raise(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise ValueError(refusal.detail)

    def send_400_response(self, msg: str) -> None:
        if self._lingers:
            self.transport.close()
            return
        self._refuse(self._refusal or MalformedRequest("the bytes are not an HTTP/1.1 request"))

    def _refuse(self, refusal: Refusal) -> None:
        """Write a problem unless a response has begun, and close the connection."""
        self._refusal = refusal
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if not (answering and (cycle.response_started or self._in_head)):  # in a head, the response is another one's
            self.transport.write(_problem_bytes(refusal, self.prefix, self.server_state.default_headers))
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)  # an earlier close would take the problem back
        else:
            self.transport.close()
        if answering:
            cycle.disconnected = True
            cycle.message_event.set()


class _LateClose:
    """A transport that does something else than close."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport, self.close = transport, close

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a transport has
        return getattr(self._transport, name)


def _late_closing(transport: asyncio.Transport, close: Callable[[], None]) -> asyncio.Transport:
    return cast("asyncio.Transport", _LateClose(transport, close))


def _problem_bytes(refusal: Refusal, prefix: str, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    request_id = uuid.uuid4().hex
    response = problem_response(refusal, request_id, prefix)
    headers = [
        *default_headers, *response.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close"),
        (b"cache-control", b"private, no-store"), (b"x-content-type-options", b"nosniff"),
    ]  # fmt: skip
    head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[refusal.status] + head + b"\r\n" + bytes(response.body)
