"""A receiver of webhooks and of results on this machine, by plain HTTP."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    """One request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers the requests to each path with these statuses in turn, the last one for ever; by default 204.

    Attributes:
        requests: that have arrived, answered or not.
        hanging: paths whose requests get no answer until `release` is set.
        on_connect, on_request: called before a request is read, and before it is answered.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.statuses: dict[str, list[int]] = {}
        self.headers: dict[str, str] = {}
        self.hanging: set[str] = set()
        self.release = threading.Event()
        self.on_connect: Callable[[], None] | None = None
        self.on_request: Callable[[Received], None] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self):
                if receiver.on_connect is not None:
                    receiver.on_connect()
                super().setup()

            def do_POST(self):
                receiver._answer(self)

            do_PUT = do_POST

            def log_message(self, *words):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):  # a sender that was killed
                pass

        server = Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.release.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def of(self, path: str) -> list[Received]:
        """Returns the requests to a path."""
        return [request for request in self.requests if request.path == path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Received(handler.command, handler.path, headers, body)
        with self._lock:
            statuses = self.statuses.get(handler.path, [204])
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            self.requests.append(request)
        if self.on_request is not None:
            self.on_request(request)
        if handler.path in self.hanging:
            self.release.wait(60)
        handler.send_response(status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", "0")
        handler.end_headers()
