"""`undegrade worker` in a process of its own, as `serve` runs it."""

import os
import signal
import subprocess
import sys

from cli.embedded_redis import end_with_parent
from service.settings import ServiceSettings


class WorkerProcess:
    """The process.  Start it in the main thread: the kernel ends it with the thread that started it."""

    def __init__(self, service: ServiceSettings) -> None:
        self.service = service
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start or restart it.

        Raises:
            OSError: no process can be started.
        """
        # In the environment: every user of the machine can read the words of a command, and a URL may have a password
        urls = {"UNDEGRADE_REDIS_URL": self.service.redis_url, "UNDEGRADE_STORE_URL": self.service.store_url}
        env = {**os.environ, **urls}
        env.pop("UNDEGRADE_METRICS_PORT", None)  # the API has it
        # A new session: Ctrl-C reaches this process only, which then stops the worker
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "worker"], env=env, start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )  # fmt: skip

    def exit_code(self) -> int | None:
        """Returns the exit code, or None while the process runs."""
        return self.process.poll() if self.process else None

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        """Ask it to finish its jobs and to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it at once, with the processes that it started."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
