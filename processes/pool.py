"""A pool of processes that each run one call at a time, so that a call that kills its process fails alone.

The pool of concurrent.futures breaks as a whole when one process dies, and passes each call through two threads and two
queues.  Here a call is one message each way over the process' own pipe.
"""

import asyncio
import multiprocessing
import os
import pickle
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar, cast

from processes.living_thread import start_child
from processes.parent_death import die_with_parent, prefer_as_victim
from processes.pipe import Frames, connect

T = TypeVar("T")


class ProcessDied(Exception):
    """The process ended while it ran this call."""


class CallTooSlow(Exception):
    """The call did not end within its limit; its process was killed."""


def _serve(connection: Connection, memory_bytes: int, parent: int) -> None:
    """The child: runs one call after the other until the pipe is closed."""
    die_with_parent(parent)
    prefer_as_victim()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    while True:
        try:
            action, arguments = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            answer = pickle.dumps((True, action(*arguments)), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # the caller raises it
            answer = pickle.dumps((False, error))
        connection.send_bytes(answer)


class _Worker:
    """A process; the next call must wait for the answer to the last."""

    def __init__(self, memory_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, memory_bytes, os.getpid()), name="undegrade-codec", daemon=True
        )
        start_child(self.process)
        theirs.close()  # an open copy here would hide the child's end of the pipe
        self._frames: Frames | None = None
        self._answer: asyncio.Future[bytearray] | None = None

    async def connect(self) -> None:
        """Connect to the process, before the first call."""
        self._frames = await connect(self._ours, self._on_message)

    def call(self, message: bytes) -> "asyncio.Future[bytearray]":
        """Send a call.  Returns its answer; ProcessDied where the process ends first."""
        assert self._frames is not None, "not connected"
        self._answer = asyncio.get_running_loop().create_future()
        self._frames.send(message)
        return self._answer

    def _on_message(self, message: bytearray | None) -> None:
        if self._answer is None or self._answer.done():
            return
        if message is None:
            self._answer.set_exception(ProcessDied("the process ended while it ran the call"))
        else:
            self._answer.set_result(message)

    def kill(self) -> None:
        """Kill the process and close its pipe."""
        self.process.kill()
        if self._frames is not None:
            self._frames.close()

    async def closed(self) -> None:
        """Return when its pipe is closed."""
        if self._frames is not None:
            await self._frames.closed()


class Pool:
    """`workers` processes of at most `memory_bytes` of address space each, started by the first calls."""

    def __init__(self, workers: int, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._idle: list[_Worker | None] = [None] * workers
        self._slots = asyncio.Semaphore(workers)
        self._processes: set[_Worker] = set()

    @property
    def pids(self) -> list[int]:
        """The ids of the running processes."""
        return [worker.process.pid for worker in self._processes if worker.process.pid is not None]

    async def run(self, action: Callable[..., T], *arguments: object, limit_s: float | None = None) -> T:
        """Run `action(*arguments)` in one of the processes, and return what it returns or raise what it raises.

        A call whose caller is canceled ends at once, too: its process is killed, and the next call starts a new one.
        `limit_s` does not count the wait for a free process.

        Raises:
            ProcessDied: the process ended while it ran this call.
            CallTooSlow: the call did not end within `limit_s` seconds.
        """
        message = pickle.dumps((action, arguments), protocol=pickle.HIGHEST_PROTOCOL)
        await self._slots.acquire()
        worker = await self._take()
        call = worker.call(message)
        try:
            async with asyncio.timeout(limit_s):
                answer = await call
        except TimeoutError as error:
            raise CallTooSlow(f"the call did not end within {limit_s} s") from error
        finally:
            self._give_back(worker, call)
        succeeded, value = cast(tuple[bool, Any], pickle.loads(answer))
        if succeeded:
            return cast(T, value)
        raise value

    async def _take(self) -> _Worker:
        """Returns an idle process; a fresh one where it was not started yet, or was killed while it was idle."""
        worker = self._idle.pop()
        if worker is not None and worker.process.is_alive():
            return worker
        if worker is not None:
            self._drop(worker)
        fresh = None
        try:
            fresh = _Worker(self.memory_bytes)
            self._processes.add(fresh)
            await fresh.connect()
        except BaseException:
            if fresh is not None:
                self._drop(fresh)
            self._idle.append(None)
            self._slots.release()
            raise
        return fresh

    def _give_back(self, worker: _Worker, call: "asyncio.Future[bytearray]") -> None:
        if not call.done() or call.cancelled() or call.exception() is not None:  # it died, or it still runs
            self._drop(worker)
            self._idle.append(None)
        else:
            self._idle.append(worker)  # the last used is the next: its memory is warm
        self._slots.release()

    def _drop(self, worker: _Worker) -> None:
        self._processes.discard(worker)
        worker.kill()

    async def close(self) -> None:
        """Kill the processes; calls that are running raise ProcessDied."""
        workers = list(self._processes)
        for worker in workers:
            self._drop(worker)
        await asyncio.gather(*(worker.closed() for worker in workers))
