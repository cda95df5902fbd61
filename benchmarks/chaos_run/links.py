"""TCP links that can be hurt: a proxy between one part and a server, on a loop in a thread of its own.

No byte of a stream is left out and the next one delivered, for networks do not do that either: what is held is
delivered late, and a connection that is half-open never says anything again.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable
from typing import Literal

import uvloop

Mode = Literal["open", "cut", "requests-lost", "answers-lost", "slow", "error"]
SLOW_S = (0.02, 0.3)
ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Link:
    """One listener before one server.  Its methods run on the loop of `Links`.

    `hits`: how many connections, answers or reads the last hurt has met.
    """

    def __init__(self, target_port: int, slow_s: tuple[float, float]) -> None:
        self.target_port, self.slow_s, self.port = target_port, slow_s, 0
        self.mode: Mode = "open"
        self.hits = 0
        self.gates = (asyncio.Event(), asyncio.Event())
        for gate in self.gates:
            gate.set()
        self._server: asyncio.Server | None = None
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._half_open: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def hurt(self, mode: Mode) -> None:
        """Switch to another mode; "open" heals."""
        before, self.mode, self.hits = self.mode, mode, 0
        for gate, name in zip(self.gates, ("requests-lost", "answers-lost"), strict=True):
            gate.clear() if mode == name else gate.set()
        if mode in ("cut", "error"):
            for pair in list(self._connections):
                self.hits += mode == "cut"
                for end in pair:
                    end.transport.abort()
        if mode == "cut" and self._server is not None:
            self._server.close()
            self._server = None
        if before == "cut" and self._server is None and mode != "cut":
            await self.listen()

    async def half_open(self) -> None:
        """Let all connections of now fall silent for ever; new ones work."""
        self.hits = len(self._connections)
        for pair in self._connections:
            self._half_open.update(pair)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "error":
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.read(65_536)
                writer.write(ERROR)
                self.hits += 1
                await writer.drain()
            writer.close()
            return
        try:
            above, below = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, below)
        if self.mode == "cut":  # it was accepted before that
            for end in pair:
                end.transport.abort()
            return
        self._connections.add(pair)
        try:
            await asyncio.gather(self._pump(reader, below, 0), self._pump(above, writer, 1))
        finally:
            self._connections.discard(pair)
            for end in pair:
                self._half_open.discard(end)
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: int) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if writer in self._half_open:
                    continue
                self.hits += not self.gates[direction].is_set() or self.mode == "slow"
                await self.gates[direction].wait()
                if self.mode == "slow":
                    await asyncio.sleep(random.uniform(*self.slow_s))
                writer.write(data)
                await writer.drain()
        writer.close()

    async def close(self) -> None:
        await self.hurt("cut")


class Links:
    """All links, on one loop in a thread, so that busy clients do not slow them down."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._links: list[Link] = []

    def open(self, target_port: int, slow_s: tuple[float, float] = SLOW_S) -> Link:
        """Returns a link to a port of this machine that listens on a port of its own."""
        link = Link(target_port, slow_s)
        self.run(link.listen)
        self._links.append(link)
        return link

    def run(self, action: Callable[..., object], *arguments: object) -> None:
        """Run a coroutine function of a link, and wait for its end."""
        asyncio.run_coroutine_threadsafe(action(*arguments), self._loop).result(10)  # type: ignore[arg-type]

    def close(self) -> None:
        for link in self._links:
            with contextlib.suppress(Exception):  # the run is over, whatever a connection thinks
                self.run(link.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
