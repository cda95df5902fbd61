"""`undegrade worker` and `undegrade webhooks` in processes of their own, as `serve` runs them."""

import os
import signal
import subprocess
import sys

from processes.child_program import ChildProgram, end_with_parent
from service.settings import ServiceSettings


class WorkerProcess(ChildProgram):
    """The worker of one service, or its webhook process: `command` is that of the command line."""

    def __init__(self, service: ServiceSettings, command: str = "worker") -> None:
        super().__init__()
        self.service, self.command = service, command

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
            [sys.executable, "-m", "cli", self.command], env=env, start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )  # fmt: skip
