"""An HTTP server of files for tests, which cuts connections, ignores ranges, refuses and changes files on request."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from models.registry_files import RemoteFile


@dataclass
class FileServer:
    """The files of the server and its behavior; `requests` has path, Range and If-Range of every request."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # status and headers of the next responses
    cuts: list[int] = field(default_factory=list)  # bytes after which the next connections end
    hold: threading.Event | None = None  # the second half of every body waits for it
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent_bytes: int = 0

    def add(self, name: str, content: bytes, etag: str = '"one"') -> RemoteFile:
        self.files[f"/{name}"], self.etags[f"/{name}"] = content, etag
        url = f"http://127.0.0.1:{self.port}/{name}"
        return RemoteFile(name=name, url=url, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


class FileHandler(BaseHTTPRequestHandler):
    """Answers from `self.server.files`, a FileServer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        files, path = self.server.files, self.path.partition("?")[0]
        wanted, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
        files.requests.append((path, wanted, condition))
        if files.refusals:
            return self.refuse(*files.refusals.pop(0))
        if path not in files.files:
            return self.refuse(404, {})
        content, etag, start = files.files[path], files.etags[path], 0
        if files.ranges and wanted and condition in ("", etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                return self.refuse(416, {})
        self.send_head(start, len(content), etag)
        end = len(content)
        if files.cuts:
            end = start + files.cuts.pop(0)
            self.close_connection = True
        half = (start + end) // 2
        self.send(content[start:half])
        if files.hold is not None:
            files.hold.wait(60)
        self.send(content[half:end])

    def send_head(self, start, size, etag):
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(size - start))
        self.end_headers()

    def send(self, part):
        self.server.files.sent_bytes += len(part)  # before, since a client may go on before a line after it runs
        try:
            self.wfile.write(part)
        except OSError:  # the client has closed the connection
            self.server.files.sent_bytes -= len(part)
            self.close_connection = True

    def refuse(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
