"""The processes of a run: each can be started, killed, paused and started again, and none outlives the runner."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import psutil

from processes.child_program import end_with_parent

ROOT = Path(__file__).parents[2]
MARK = "CHAOS_RUN"
"""Environment variable of every process of a run, by which strays are found."""
END_S = 45.0


def free_port() -> int:
    """Returns a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Part:
    """A program with its log.  `busy`: a fault has it in its hands, so its end is no surprise."""

    def __init__(self, name: str, kind: str, words: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.name, self.kind, self.words, self.log, self.env = name, kind, list(words), log, dict(env)
        self.process: subprocess.Popen[bytes] | None = None
        self.busy = False
        self.starts, self._log_begins = 0, 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll() if self.process is not None else None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.running:
            return
        with self.log.open("ab") as output:
            self._log_begins = output.tell()
            self.process = subprocess.Popen(
                self.words, cwd=ROOT, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, preexec_fn=end_with_parent(signal.SIGKILL),
            )  # fmt: skip
        self.starts += 1

    def output(self) -> bytes:
        """Returns what it has written since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            return log.read()

    def last_line_s(self) -> float | None:
        """Returns when its last line was written by its own clock, in seconds since 1970; None before the first one."""
        for line in reversed(self.output().splitlines()):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
        return None

    def send(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, and wait."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(END_S)

    def children(self) -> dict[str, list[psutil.Process]]:
        """Returns its children by kind: `engine`, `decoder`, `tracker`; nothing where it has ended."""
        found: dict[str, list[psutil.Process]] = {}
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid if self.process else -1).children():
                if child.status() == psutil.STATUS_ZOMBIE:  # it has ended; the next start of a child takes note of it
                    continue
                found.setdefault(child_kind(child), []).append(child)
        return found

    def files(self) -> int:
        """Returns its open file descriptors."""
        try:
            return int(psutil.Process(self.process.pid if self.process else -1).num_fds())
        except (psutil.Error, ValueError):
            return 0


def child_kind(child: psutil.Process) -> str:
    """Returns what a child of a supervisor is: only the engine has torch's libraries in its memory."""
    with contextlib.suppress(psutil.Error, OSError):
        if "resource_tracker" in " ".join(child.cmdline()):
            return "tracker"
        if "libtorch" in Path(f"/proc/{child.pid}/maps").read_text():
            return "engine"
    return "decoder"


def processes_of(run: str) -> list[psutil.Process]:
    """Returns all processes of a run, by the mark in their environment; without this process and zombies."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.pid != os.getpid() and process.environ().get(MARK) == run
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def python(*words: str) -> list[str]:
    """Returns the words of a command of undegrade in this Python."""
    return [sys.executable, "-m", "cli", *words]


def until(check: object, what: str, within_s: float) -> None:
    """Wait until `check()` is true.

    Raises:
        TimeoutError: it is not in time.
    """
    until_s = time.monotonic() + within_s
    while not check():  # type: ignore[operator]
        if time.monotonic() > until_s:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(0.05)
