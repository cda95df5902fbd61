"""Starts `undegrade serve` as a user does, for benchmarks that measure over HTTP."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A service that answers.  `process` is the id of its process."""

    port: int
    process: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(device: str = "cpu", env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Start `undegrade serve` in an empty folder, with this environment or ours, and yield it once it answers.

    Raises:
        RuntimeError: it has ended; the message is its log.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        words = [sys.executable, "-m", "cli", "serve", "--port", str(port), "--device", device]
        with log.open("wb") as output:
            child = subprocess.Popen(
                words, stdout=output, stderr=output, env={**(env or os.environ), "XDG_STATE_HOME": folder}
            )
        try:
            while "Restore a photo with" not in log.read_text():
                if child.poll() is not None:
                    raise RuntimeError(log.read_text())
                time.sleep(0.1)
            yield Served(port, child.pid)
        finally:
            child.terminate()
            child.wait(60)
