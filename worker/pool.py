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

from worker.parent import die_with_parent

T = TypeVar("T")
AT_ONCE_BYTES = 1 << 20
"""Messages up to here are passed on the loop itself; larger ones by a thread, which costs a tenth of a millisecond."""


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
    """One process and its pipe; `call` must have ended before the next."""

    def __init__(self, memory_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, memory_bytes, os.getpid()), name="undegrade-pictures", daemon=True
        )
        self.process.start()
        theirs.close()  # else its end would never be seen

    async def call(self, message: bytes, small_answer: bool) -> bytes:
        """Raises Died."""
        try:
            if len(message) <= AT_ONCE_BYTES:
                self._ours.send_bytes(message)
            else:
                await asyncio.to_thread(self._ours.send_bytes, message)
            await self._readable()
            if small_answer:
                return self._ours.recv_bytes()
            return await asyncio.to_thread(self._ours.recv_bytes)
        except (EOFError, OSError) as error:
            raise Died("the process ended while it worked") from error

    async def _readable(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._ours.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._ours.fileno())
            os.set_blocking(self._ours.fileno(), True)  # libuv, below uvloop, unsets it, and Connection relies on it

    def end(self) -> None:
        self.process.kill()
        self._ours.close()


class Pool:
    """`workers` processes of at most `memory_bytes` of address space each, started by the first calls."""

    def __init__(self, workers: int, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._free: list[_Hand | None] = [None] * workers
        self._room = asyncio.Semaphore(workers)
        self._hands: set[_Hand] = set()
        self._calls: set[asyncio.Task[bytes]] = set()

    @property
    def pids(self) -> list[int]:
        """Of the processes that are there."""
        return [hand.process.pid for hand in self._hands if hand.process.pid is not None]

    async def run(self, action: Callable[..., T], *words: object, small_answer: bool = False) -> T:
        """What `action(*words)` answers, or raises, in one of the processes.

        A caller that is canceled leaves at once; the process ends what it does before it serves the next.

        Raises:
            Died: the process ended while it worked on this.
        """
        message = pickle.dumps((action, words), protocol=pickle.HIGHEST_PROTOCOL)
        call = asyncio.create_task(self._call(message, small_answer))
        self._calls.add(call)
        call.add_done_callback(self._ended)
        done, answer = cast(tuple[bool, Any], pickle.loads(await asyncio.shield(call)))
        if done:
            return cast(T, answer)
        raise answer

    def _ended(self, call: "asyncio.Task[bytes]") -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # seen, also where the caller has left

    async def _call(self, message: bytes, small_answer: bool) -> bytes:
        async with self._room:
            hand = self._free.pop()
            try:
                if hand is None or not hand.process.is_alive():  # killed while it idled
                    hand = self._fresh(hand)
                answer = await hand.call(message, small_answer)
            except BaseException:
                if hand is not None:
                    self._drop(hand)
                self._free.append(None)
                raise
            self._free.append(hand)  # the last used is the next: its memory is warm
            return answer

    def _fresh(self, dead: _Hand | None) -> _Hand:
        if dead is not None:
            self._drop(dead)
        hand = _Hand(self.memory_bytes)
        self._hands.add(hand)
        return hand

    def _drop(self, hand: _Hand) -> None:
        self._hands.discard(hand)
        hand.end()

    def close(self) -> None:
        """End the processes; calls under way end with Died or are canceled with their callers."""
        for call in self._calls:
            call.cancel()
        for hand in list(self._hands):
            self._drop(hand)
