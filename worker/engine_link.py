"""The supervisor's side of the engine child: start it, talk to it, replace it when it dies.

No torch here: the child is spawned, so this process never loads it.
"""

import asyncio
import multiprocessing
import os
import pickle
from collections.abc import Callable
from multiprocessing.context import SpawnProcess

from worker import engine_child
from worker.messages import Answer, Command, NotReady, Ready, Stop
from worker.pipe import Frames, connected

END_S = 5.0


class EngineLink:
    """One child.  `heard` is called on the loop with each answer, and with None when the child has ended."""

    def __init__(self, config: engine_child.EngineConfig, heard: Callable[[Answer | None], None]) -> None:
        self.config, self.heard = config, heard
        self.ready: Ready | None = None
        self._process: SpawnProcess | None = None
        self._frames: Frames | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Spawn the child; it says Ready or NotReady when it has loaded."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.config, os.getpid())
        self._process = context.Process(target=engine_child.main, args=arguments, name="undegrade-engine", daemon=True)
        self._process.start()
        theirs.close()  # else its end would never be seen
        self._frames = await connected(ours, self._said)

    def _said(self, message: bytearray | None) -> None:
        answer: Answer | None = None if message is None else pickle.loads(message)
        if isinstance(answer, Ready):
            self.ready = answer
        elif isinstance(answer, NotReady):
            self.ready = None
        elif answer is None:
            self.ready = self._frames = None
        self.heard(answer)

    def send(self, command: Command) -> bool:
        """Never blocks.  False where the child is gone: it will not be heard of again."""
        if self._frames is None:
            return False
        self._frames.send(pickle.dumps(command, protocol=pickle.HIGHEST_PROTOCOL))
        return True

    def exit_code(self) -> int | None:
        """How the child ended."""
        assert self._process is not None
        self._process.join(END_S)
        return self._process.exitcode

    async def stop(self) -> None:
        """End the child, gently at first."""
        if self._process is None:
            return
        self.send(Stop())
        await asyncio.to_thread(self._process.join, END_S)
        if self._process.is_alive():
            self._process.kill()
            await asyncio.to_thread(self._process.join, END_S)
