"""Messages between the loop and a child, whose end is Python's own Connection: the oracle of the framing."""

import asyncio
import os
import struct
from multiprocessing import Pipe
from threading import Thread

import pytest
import uvloop

from worker.pipe import connected

SIZES = [1, 3, 16_384, 16_385, 250_000, 9_000_001]
"""Around where Connection sends the length by itself, and beyond any socket's buffer."""


def run(scenario):
    """With our end of a pipe as frames, a queue of what was heard, and the other end as it is."""

    async def main():
        ours, theirs = Pipe()
        heard = asyncio.Queue()
        frames = await connected(ours, heard.put_nowait)
        try:
            await asyncio.wait_for(scenario(frames, heard, theirs), 60)
        finally:
            frames.close()
            await frames.closed()
            theirs.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_any_size_is_understood_by_the_other_end(size):
    async def scenario(frames, heard, theirs):
        messages = [os.urandom(size), b"small", os.urandom(size)]
        for message in messages:
            frames.send(message)
        for message in messages:
            assert await asyncio.to_thread(theirs.recv_bytes) == message

    run(scenario)


@pytest.mark.parametrize("size", SIZES)
def test_what_the_other_end_sends_is_heard_whole_and_in_order(size):
    async def scenario(frames, heard, theirs):
        messages = [os.urandom(size), b"small", os.urandom(size)]
        sends = Thread(target=lambda: [theirs.send_bytes(message) for message in messages])
        sends.start()
        assert [await heard.get() for _ in messages] == messages
        sends.join()

    run(scenario)


def test_the_loop_goes_on_while_a_child_reads_late():
    async def scenario(frames, heard, theirs):
        frames.send(bytes(9_000_001))  # more than a socket holds: a call that waits for its reader would never return
        await asyncio.sleep(0.05)
        assert len(await asyncio.to_thread(theirs.recv_bytes)) == 9_000_001

    run(scenario)


def test_the_length_of_a_message_beyond_two_gigabytes_is_read():
    async def scenario(frames, heard, theirs):
        os.write(theirs.fileno(), struct.pack("!iQ", -1, 5) + b"hello")
        theirs.send_bytes(b"next")
        assert [await heard.get(), await heard.get()] == [b"hello", b"next"]

    run(scenario)


def test_the_end_of_the_other_side_is_heard_once_also_in_the_middle_of_a_message():
    async def scenario(frames, heard, theirs):
        os.write(theirs.fileno(), struct.pack("!i", 100) + b"half")
        theirs.close()
        assert await heard.get() is None
        await frames.closed()
        assert heard.empty()
        frames.send(b"nobody is there")

    run(scenario)
