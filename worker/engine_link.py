"""The supervisor's side of the engine child: starts it, exchanges messages with it, and ends it.

The child is spawned, so torch is never loaded in this process.
"""

import asyncio
import multiprocessing
import os
import pickle
from collections.abc import Callable
from multiprocessing.context import SpawnProcess

from processes.pipe import Frames, connect
from worker import engine_child
from worker.engine_config import EngineConfig
from worker.messages import Answer, Command, NotReady, Ready, Stop

END_S = 5.0


class EngineLink:
    """A child.  `on_answer` is called on the loop with each answer, and with None when the child has ended."""

    def __init__(self, config: EngineConfig, on_answer: Callable[[Answer | None], None]) -> None:
        self.config, self.on_answer = config, on_answer
        self.ready: Ready | None = None
        self._process: SpawnProcess | None = None
        self._frames: Frames | None = None

    async def start(self) -> None:
        """Spawn the child.  It sends Ready or NotReady once it has loaded."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.config, os.getpid())
        self._process = context.Process(target=engine_child.main, args=arguments, name="undegrade-engine", daemon=True)
        self._process.start()
        theirs.close()  # an open copy here would hide the child's end of the pipe
        self._frames = await connect(ours, self._on_message)

    def _on_message(self, message: bytearray | None) -> None:
        answer: Answer | None = None if message is None else pickle.loads(message)
        if isinstance(answer, Ready):
            self.ready = answer
        elif isinstance(answer, NotReady):
            self.ready = None
        elif answer is None:
            self.ready = self._frames = None
        self.on_answer(answer)

    def send(self, command: Command) -> bool:
        """Send a command without blocking.  Returns False where the child has ended: no answer will come."""
        if self._frames is None:
            return False
        self._frames.send(pickle.dumps(command, protocol=pickle.HIGHEST_PROTOCOL))
        return True

    def exit_code(self) -> int | None:
        """Wait for the child's end and return its exit code; blocks for up to END_S."""
        assert self._process is not None
        self._process.join(END_S)
        return self._process.exitcode

    async def stop(self) -> None:
        """Ask the child to end, and kill it if it does not."""
        if self._process is None:
            return
        self.send(Stop())
        await asyncio.to_thread(self._process.join, END_S)
        if self._process.is_alive():
            self._process.kill()
            await asyncio.to_thread(self._process.join, END_S)
