"""The supervisor's side of the engine child: starts it, exchanges messages with it, and ends it.

The child is spawned, so torch is never loaded in this process.
"""

import asyncio
import multiprocessing
import os
import pickle
from collections.abc import Callable
from multiprocessing.context import SpawnProcess

import psutil

from processes.living_thread import start_child
from processes.pipe import Frames, connect
from worker import engine_child
from worker.engine_config import EngineConfig
from worker.messages import Answer, Command, NotReady, Ready, Stop
from worker.watchdog import Vitals

END_S = 2.0
EXIT_S = 15.0
"""Python and torch may take seconds to end on a busy machine, after the pipe is closed."""


class EngineLink:
    """A child.  `on_answer` is called on the loop with each answer, and with None when the child has ended."""

    def __init__(self, config: EngineConfig, on_answer: Callable[[Answer | None], None]) -> None:
        self.config, self.on_answer = config, on_answer
        self.ready: Ready | None = None
        self._process: SpawnProcess | None = None
        self._frames: Frames | None = None

    async def start(self) -> None:
        """Spawn the child.  It sends Ready or NotReady once it has loaded.

        Raises:
            OSError: the operating system has no process, no file descriptor or no memory left.
        """
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.config, os.getpid())
        process = context.Process(target=engine_child.main, args=arguments, name="undegrade-engine", daemon=True)
        try:
            start_child(process)
            self._process = process
            self._frames = await connect(ours, self._on_message)
        finally:
            theirs.close()  # an open copy here would hide the child's end of the pipe
            if self._frames is None and not ours.closed:
                ours.close()

    def _on_message(self, message: bytearray | None) -> None:
        answer: Answer | None = None if message is None else pickle.loads(message)
        if isinstance(answer, Ready):
            self.ready = answer
        elif isinstance(answer, NotReady):
            self.ready = None
        elif answer is None:
            self.ready = self._frames = None
        self.on_answer(answer)

    @property
    def alive(self) -> bool:
        """Whether there is a child that has not ended, as far as its pipe says."""
        return self._frames is not None

    def version_of(self, bundle: str) -> str:
        """Returns the version of a bundle that the child has loaded; "" where it is not known."""
        loaded = self.ready.bundles if self.ready else ()
        return next((entry.version for entry in loaded if entry.name == bundle), "")

    def send(self, command: Command) -> bool:
        """Send a command without blocking.  Returns False where the child has ended: no answer will come."""
        if self._frames is None:
            return False
        self._frames.send(pickle.dumps(command, protocol=pickle.HIGHEST_PROTOCOL))
        return True

    def vitals(self) -> Vitals | None:
        """Returns what the operating system says of the child; None where it has ended."""
        if self._process is None or self._process.pid is None:
            return None
        try:
            child = psutil.Process(self._process.pid)
            times = child.cpu_times()
            return Vitals(times.user + times.system, child.status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return None

    def memory_bytes(self) -> int | None:
        """Returns the child's memory on the host; None where it has ended."""
        if self._process is None or self._process.pid is None:
            return None
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return None

    def kill(self) -> None:
        """Kill the child; `on_answer` gets None when it has ended."""
        if self._process is not None:
            self._process.kill()

    def exit_code(self) -> int | None:
        """Wait for the end of a child that has closed its pipe, and return its exit code; blocks for up to EXIT_S.

        One that does not end is killed, as it holds memory that the next one needs; its code is then None.
        """
        assert self._process is not None
        self._process.join(EXIT_S)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join(END_S)
        return code

    async def stop(self) -> None:
        """Ask the child to end, and kill it if it does not.  A child that still loads is killed at once."""
        if self._process is None:
            return
        if self.ready is not None:
            self.send(Stop())
            await asyncio.to_thread(self._process.join, END_S)
        if self._process.is_alive():
            self._process.kill()
            await asyncio.to_thread(self._process.join, END_S)
