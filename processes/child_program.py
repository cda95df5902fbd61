"""A program that runs as a child process and ends with its parent."""

import os
import signal
import subprocess
from collections.abc import Callable

from processes.parent_death import die_with_parent


def end_with_parent(number: int = signal.SIGTERM) -> Callable[[], None]:
    """Returns a `preexec_fn` for Popen: the child gets this signal when this process ends for any reason."""
    parent = os.getpid()
    return lambda: die_with_parent(parent, number)


class ChildProgram:
    """A program that may be started, ended and started again; `process` is None before the first start.

    Start it in the main thread: the kernel ends it with the thread that started it.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def exit_code(self) -> int | None:
        """Returns the exit code; None while it runs, and before its first start."""
        return self.process.poll() if self.process is not None else None

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        """Ask it to finish its work and to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it at once; what it has not written is lost."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
