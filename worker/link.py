"""The supervisor's side of the engine child: start it, talk to it, replace it when it dies.

No torch here: the child is spawned, so this process never loads it.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from threading import Thread

import structlog

from worker import child
from worker.messages import Answer, Command, NotReady, Ready, Stop

log = structlog.get_logger()
END_S = 5.0


class EngineLink:
    """One child.  `heard` is called on the loop with each answer, and with None when the child has ended."""

    def __init__(self, config: child.EngineConfig, heard: Callable[[Answer | None], None]) -> None:
        self.config, self.heard = config, heard
        self.ready: Ready | None = None
        self._process: SpawnProcess | None = None
        self._outbox: SimpleQueue[Command | None] = SimpleQueue()
        self._there = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Spawn the child; it says Ready or NotReady when it has loaded."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.config, os.getpid())
        self._process = context.Process(target=child.main, args=arguments, name="undegrade-engine", daemon=True)
        self._process.start()
        theirs.close()  # else its end would never be seen
        loop = asyncio.get_running_loop()
        self._outbox, self._there = SimpleQueue(), True
        Thread(target=self._listen, args=(ours, loop), daemon=True).start()
        Thread(target=_write, args=(ours, self._outbox), daemon=True).start()

    def _listen(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        answer: Answer | None = None
        while True:
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                answer = None
            try:
                loop.call_soon_threadsafe(self._heard, answer)
            except RuntimeError:  # the loop has closed: nobody is left to tell
                return
            if answer is None:
                return

    def _heard(self, answer: Answer | None) -> None:
        if isinstance(answer, Ready):
            self.ready = answer
        elif answer is None or isinstance(answer, NotReady):
            self.ready, self._there = None, answer is not None
            self._outbox.put(None)
        self.heard(answer)

    def send(self, command: Command) -> bool:
        """Never blocks.  False where the child is gone: it will not be heard of again."""
        if self._there:
            self._outbox.put(command)
        return self._there

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


def _write(connection: Connection, outbox: "SimpleQueue[Command | None]") -> None:
    """A child that loads, or computes, reads late: a large picture would hold the loop, and with it every lease."""
    while (command := outbox.get()) is not None:
        try:
            connection.send(command)
        except (BrokenPipeError, OSError):
            return
