"""Framed messages; the other end is Python's own Connection, which defines the framing."""

import asyncio
import os
import struct
from multiprocessing import Pipe
from threading import Thread

import pytest
import uvloop

from processes.pipe import connect

SIZES = [1, 3, 16_384, 16_385, 250_000, 9_000_001]
"""Around the size from which Connection sends the length by itself, and beyond any socket's buffer."""


def run(scenario):
    """Run a scenario with our end of a pipe as frames, a queue of its messages, and the other end."""

    async def main():
        ours, theirs = Pipe()
        messages_in = asyncio.Queue()
        frames = await connect(ours, messages_in.put_nowait)
        try:
            await asyncio.wait_for(scenario(frames, messages_in, theirs), 60)
        finally:
            frames.close()
            await frames.closed()
            theirs.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_any_size_reaches_the_other_end(size):
    async def scenario(frames, messages_in, theirs):
        messages = [os.urandom(size), b"small", os.urandom(size)]
        for message in messages:
            frames.send(message)
        for message in messages:
            assert await asyncio.to_thread(theirs.recv_bytes) == message

    run(scenario)


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_the_other_end_arrive_whole_and_in_order(size):
    async def scenario(frames, messages_in, theirs):
        messages = [os.urandom(size), b"small", os.urandom(size)]
        sends = Thread(target=lambda: [theirs.send_bytes(message) for message in messages])
        sends.start()
        assert [await messages_in.get() for _ in messages] == messages
        sends.join()

    run(scenario)


def test_send_does_not_block_while_the_child_does_not_read():
    async def scenario(frames, messages_in, theirs):
        frames.send(bytes(9_000_001))  # more than a socket holds: a call that waits for its reader would never return
        await asyncio.sleep(0.05)
        assert len(await asyncio.to_thread(theirs.recv_bytes)) == 9_000_001

    run(scenario)


def test_the_length_of_a_message_beyond_two_gigabytes_is_read():
    async def scenario(frames, messages_in, theirs):
        os.write(theirs.fileno(), struct.pack("!iQ", -1, 5) + b"hello")
        theirs.send_bytes(b"next")
        assert [await messages_in.get(), await messages_in.get()] == [b"hello", b"next"]

    run(scenario)


def test_a_closed_pipe_is_reported_once_even_in_the_middle_of_a_message():
    async def scenario(frames, messages_in, theirs):
        os.write(theirs.fileno(), struct.pack("!i", 100) + b"half")
        theirs.close()
        assert await messages_in.get() is None
        await frames.closed()
        assert messages_in.empty()
        frames.send(b"to a closed pipe")

    run(scenario)
