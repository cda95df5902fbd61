"""A proxy in front of a real service that hurts one request after the other, as its list of faults says."""

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

REFUSED = {
    "503": (503, "queue-full", "7"), "429": (429, "rate-limited", "3"), "502": (502, None, None),
    "html": (200, None, None),
}  # fmt: skip
FAULTS = ("ok", "503", "429", "502", "reset", "lost", "cut", "stall")
"""ok: forwarded.  503, 429, 502: refused before the service sees it.  reset: the connection is reset before.
lost: the service answers, and the connection is reset.  cut: half of the body arrives.  stall: no answer ever.
html, which is no fault: a page of another server."""
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass
class FaultyProxy:
    """`faults` are used up from the left, one by each request; then every request is forwarded."""

    target: str
    faults: deque[str] = field(default_factory=deque)
    seen: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def hurt(self, faults: Iterable[str]) -> None:
        self.faults.clear()
        self.faults.extend(faults)
        self.seen.clear()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def handle_any(self) -> None:
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            fault = proxy.faults.popleft()
        except IndexError:
            fault = "ok"
        proxy.seen.append(f"{self.command} {self.path} {fault}")
        self.close_connection = True
        if fault in REFUSED:
            self._refuse(*REFUSED[fault])
        elif fault == "reset":
            self._reset()
        else:
            self._forward(body, fault)

    do_GET = do_POST = do_DELETE = do_PUT = handle_any

    def _refuse(self, status: int, code: str | None, retry_after: str | None) -> None:
        body = b"<h1>Bad gateway</h1>" if code is None else f'{{"code": "{code}", "detail": "later"}}'.encode()
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _forward(self, body: bytes, fault: str) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        with httpx.stream(
            self.command, self.proxy.target + self.path, headers=headers, content=body, timeout=60
        ) as answer:
            if fault in ("lost", "stall"):
                answer.read()
                if fault == "stall":
                    self.proxy.released.wait(20)
                return self._reset()
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            if "text/event-stream" in answer.headers.get("content-type", ""):
                return self._stream(answer, fault)
            content = answer.read()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        return None

    def _stream(self, answer: httpx.Response, fault: str) -> None:
        self.end_headers()
        for chunk in answer.iter_raw():
            self.wfile.write(chunk[: len(chunk) // 2] if fault == "cut" else chunk)
            if fault == "cut":
                return

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that are reset are what this is for."""


def start_proxy(target: str) -> tuple[FaultyProxy, Server]:
    """Start a proxy on a free port."""
    proxy = FaultyProxy(target)
    server = Server(("127.0.0.1", 0), type("OfThisProxy", (Handler,), {"proxy": proxy}))
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return proxy, server
