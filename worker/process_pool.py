"""A few processes that each do one thing at a time, so that what kills one is known and kills nobody else.

concurrent.futures' pool breaks as a whole when one of its processes dies, and passes every call through two threads and
two queues; here a call is one message each way over the process' own pipe.
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

from worker.parent_death import die_with_parent
from worker.pipe import Frames, connected

T = TypeVar("T")


class Died(Exception):
    """The process ended while it worked on this."""


def _serve(connection: Connection, memory_bytes: int, parent: int) -> None:
    """The child: one call after the other until the pipe ends."""
    die_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    while True:
        try:
            action, words = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            answer = pickle.dumps((True, action(*words)), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # whatever it is, it belongs to the caller
            answer = pickle.dumps((False, error))
        connection.send_bytes(answer)


class _Hand:
    """One process; an answer must have come before the next call."""

    def __init__(self, memory_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, memory_bytes, os.getpid()), name="undegrade-pictures", daemon=True
        )
        self.process.start()
        theirs.close()  # else its end would never be seen
        self._frames: Frames | None = None
        self._answer: asyncio.Future[bytearray] | None = None

    async def meet(self) -> None:
        """Before the first call."""
        self._frames = await connected(self._ours, self._heard)

    def call(self, message: bytes) -> "asyncio.Future[bytearray]":
        """Its answer; Died where the process ends first."""
        assert self._frames is not None, "not met"
        self._answer = asyncio.get_running_loop().create_future()
        self._frames.send(message)
        return self._answer

    def _heard(self, message: bytearray | None) -> None:
        if self._answer is None or self._answer.done():
            return
        if message is None:
            self._answer.set_exception(Died("the process ended while it worked"))
        else:
            self._answer.set_result(message)

    def end(self) -> None:
        """Its process, at once."""
        self.process.kill()
        if self._frames is not None:
            self._frames.close()

    async def gone(self) -> None:
        """Return when its pipe is closed too."""
        if self._frames is not None:
            await self._frames.closed()


class Pool:
    """`workers` processes of at most `memory_bytes` of address space each, started by the first calls."""

    def __init__(self, workers: int, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._free: list[_Hand | None] = [None] * workers
        self._room = asyncio.Semaphore(workers)
        self._hands: set[_Hand] = set()

    @property
    def pids(self) -> list[int]:
        """Of the processes that are there."""
        return [hand.process.pid for hand in self._hands if hand.process.pid is not None]

    async def run(self, action: Callable[..., T], *words: object) -> T:
        """What `action(*words)` answers, or raises, in one of the processes.

        A caller that is canceled leaves at once; the process ends what it does before it serves the next.

        Raises:
            Died: the process ended while it worked on this.
        """
        message = pickle.dumps((action, words), protocol=pickle.HIGHEST_PROTOCOL)
        await self._room.acquire()
        hand = await self._taken()
        call = hand.call(message)
        call.add_done_callback(lambda call: self._back(hand, call))
        done, answer = cast(tuple[bool, Any], pickle.loads(await asyncio.shield(call)))
        if done:
            return cast(T, answer)
        raise answer

    async def _taken(self) -> _Hand:
        """A hand that is free; a fresh one for one that was killed while it idled."""
        hand = self._free.pop()
        if hand is not None and hand.process.is_alive():
            return hand
        if hand is not None:
            self._drop(hand)
        try:
            fresh = _Hand(self.memory_bytes)
            self._hands.add(fresh)
            await fresh.meet()
        except BaseException:
            self._free.append(None)
            self._room.release()
            raise
        return fresh

    def _back(self, hand: _Hand, call: "asyncio.Future[bytearray]") -> None:
        if call.cancelled() or call.exception() is not None:  # and so seen, also where the caller has left
            self._drop(hand)
            self._free.append(None)
        else:
            self._free.append(hand)  # the last used is the next: its memory is warm
        self._room.release()

    def _drop(self, hand: _Hand) -> None:
        self._hands.discard(hand)
        hand.end()

    async def close(self) -> None:
        """End the processes; calls under way end with Died."""
        hands = list(self._hands)
        for hand in hands:
            self._drop(hand)
        await asyncio.gather(*(hand.gone() for hand in hands))
