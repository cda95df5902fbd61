"""Framed messages to and from a child process on the asyncio loop: no thread, no queue, no blocking call.

The child's end is a multiprocessing Connection, and the frames are those of Connection: the length in four bytes in
network order, then the message.  A length of -1 says that the true length follows in eight bytes.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import cast

MAX_SHORT_BYTES = 0x7FFFFFFF
"""The longest message whose length fits into four bytes."""


class Frames(asyncio.BufferedProtocol):
    """Calls `on_message` with each message, and once with None when the other end is closed.

    A message is received in pieces into a buffer of its own: a large message neither blocks the loop nor is copied.
    """

    def __init__(self, on_message: Callable[[bytearray | None], None]) -> None:
        self._on_message = on_message
        self._transport: asyncio.WriteTransport | None = None
        self._lost = asyncio.Event()
        self._expect("!i")

    def send(self, message: bytes) -> None:
        """Send without blocking.  Unread messages are kept here; once the other end is closed, messages are dropped."""
        assert self._transport is not None, "not connected"
        if self._lost.is_set():
            return
        size = len(message)
        head = struct.pack("!i", size) if size <= MAX_SHORT_BYTES else struct.pack("!iQ", -1, size)
        self._transport.write(head)
        self._transport.write(message)

    def close(self) -> None:
        """Close this end at once."""
        assert self._transport is not None, "not connected"
        self._transport.abort()

    async def closed(self) -> None:
        """Return when either end is closed."""
        await self._lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is not a subclass

    def connection_lost(self, error: Exception | None) -> None:
        self._lost.set()
        self._on_message(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        if self._filled < len(self._buffer):
            return
        if self._header is None:
            message = self._buffer
            self._expect("!i")
            self._on_message(message)
            return
        (size,) = struct.unpack(self._header, self._buffer)
        self._expect("!Q" if size == -1 else None, size)

    def _expect(self, header: str | None, size: int = 0) -> None:
        """Prepare for what comes next: a length in this format, or a message of this size."""
        self._header, self._filled = header, 0
        self._buffer = bytearray(struct.calcsize(header) if header else size)


async def connect(connection: Connection, on_message: Callable[[bytearray | None], None]) -> Frames:
    """Take over this end of a duplex Pipe; the connection must not be used any more."""
    end = socket.socket(fileno=os.dup(connection.fileno()))
    connection.close()
    _, frames = await asyncio.get_running_loop().create_unix_connection(lambda: Frames(on_message), sock=end)
    return frames
