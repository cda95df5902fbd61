"""Whole messages to and from a child process, on the loop itself: no thread, no queue, no call that blocks.

The child's end is a multiprocessing Connection, whose frames these are: the length in four bytes, network order, then
the message; a length of -1 says that eight bytes with the true one follow.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import cast

LONGEST = 0x7FFFFFFF
"""What the four bytes can say."""


class Frames(asyncio.BufferedProtocol):
    """`heard` is called with each message, and with None once when the other end is gone.

    A message is received into its own buffer, in pieces as they come: a large one holds nobody up, and is not copied.
    """

    def __init__(self, heard: Callable[[bytearray | None], None]) -> None:
        self._heard = heard
        self._transport: asyncio.WriteTransport | None = None
        self._lost = asyncio.Event()
        self._expect("!i")

    def send(self, message: bytes) -> None:
        """Never blocks: what the child does not read yet is kept here.  Once it is gone, nothing happens."""
        assert self._transport is not None, "not connected"
        if self._lost.is_set():
            return
        size = len(message)
        head = struct.pack("!i", size) if size <= LONGEST else struct.pack("!iQ", -1, size)
        self._transport.write(head)
        self._transport.write(message)

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None, "not connected"
        self._transport.abort()

    async def closed(self) -> None:
        """Return when either end has hung up."""
        await self._lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass

    def connection_lost(self, error: Exception | None) -> None:
        self._lost.set()
        self._heard(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        if self._filled < len(self._buffer):
            return
        if self._header is None:
            message = self._buffer
            self._expect("!i")
            self._heard(message)
            return
        (size,) = struct.unpack(self._header, self._buffer)
        self._expect("!Q" if size == -1 else None, size)

    def _expect(self, header: str | None, size: int = 0) -> None:
        """What comes next: a length in this format, or a message of this size."""
        self._header, self._filled = header, 0
        self._buffer = bytearray(struct.calcsize(header) if header else size)


async def connected(connection: Connection, heard: Callable[[bytearray | None], None]) -> Frames:
    """Takes this end of a duplex Pipe over; it must not be used any more."""
    end = socket.socket(fileno=os.dup(connection.fileno()))
    connection.close()
    _, frames = await asyncio.get_running_loop().create_unix_connection(lambda: Frames(heard), sock=end)
    return frames
