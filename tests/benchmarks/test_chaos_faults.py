"""What `make chaos` injects happens: links hold bytes and go silent, disks are full, clocks jump."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


class Echo:
    """A server that sends everything back, in a loop of the test's own."""

    async def __aenter__(self):
        async def serve(reader, writer):
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(1000):
                    writer.write(data)
            writer.transport.abort()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self.server.close()


def through_link(scenario):
    """Run a scenario with a link to an echo."""
    from chaos_run.links import Link

    async def main():
        async with Echo() as echo:
            link = Link(echo.port, (0.0, 0.01))
            await link.listen()
            try:
                await asyncio.wait_for(scenario(link), 20)
            finally:
                await link.close()
                others = asyncio.all_tasks() - {asyncio.current_task()}
                await asyncio.wait(others, timeout=5) if others else None
                await asyncio.sleep(0)  # closed transports leave the loop

    asyncio.run(main())


async def answer(reader, size, within_s=0.3):
    """Returns what arrives, None where nothing does."""
    try:
        return await asyncio.wait_for(reader.readexactly(size), within_s)
    except TimeoutError:
        return None


@pytest.mark.parametrize("mode", ["requests-lost", "answers-lost"])
def test_a_link_that_holds_bytes_delivers_them_late_and_whole(mode):
    async def scenario(link):
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one")
        assert await answer(reader, 3, 5) == b"one"
        await link.hurt(mode)
        writer.write(b"two")
        assert await answer(reader, 3) is None
        assert link.hits == 1
        await link.hurt("open")
        assert await answer(reader, 3, 5) == b"two"
        writer.close()

    through_link(scenario)


def test_a_half_open_connection_stays_silent_and_a_new_one_works():
    async def scenario(link):
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one")
        assert await answer(reader, 3, 5) == b"one"
        await link.half_open()
        writer.write(b"two")
        assert await answer(reader, 3) is None
        again, other = await asyncio.open_connection("127.0.0.1", link.port)
        other.write(b"new")
        assert await answer(again, 3, 5) == b"new"
        for end in (writer, other):
            end.close()

    through_link(scenario)


def test_a_cut_link_ends_connections_refuses_new_ones_and_comes_back_on_its_port():
    async def scenario(link):
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one")
        assert await answer(reader, 3, 5) == b"one"
        port = link.port
        await link.hurt("cut")
        assert link.hits == 1
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        await link.hurt("open")
        reader, again = await asyncio.open_connection("127.0.0.1", port)
        again.write(b"new")
        assert await answer(reader, 3, 5) == b"new"
        for end in (writer, again):
            end.close()

    through_link(scenario)


def test_a_full_disk_stays_full_while_files_are_deleted(tmp_path):
    """With a limit on the size of files in the place of a full disk, which needs root."""
    from chaos_run.faults import BALLAST, _filled, _write_error

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with _filled(tmp_path) as filled:
            assert (tmp_path / BALLAST).stat().st_size == 1 << 20
            os.truncate(tmp_path / BALLAST, 1000)
            filled.fill()
            assert (1 << 20) - (tmp_path / BALLAST).stat().st_size <= 4096
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir()) and _write_error(tmp_path) == "no error"
    assert _write_error(Path("/proc/self")) not in ("no error", "?")


def test_the_files_of_a_store_are_listed_while_folders_come_and_go(tmp_path):
    from chaos_run.observe import Observer

    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "result#1").write_bytes(b"")
    observer = Observer(["http://127.0.0.1:1"], [], None, f"file://{tmp_path}")
    assert observer._blobs() == ["a/b/result#1"]
    shutil.rmtree(tmp_path)
    assert observer._blobs() == []


SAYS_TIMES = """
import sys, time
print(time.time(), time.monotonic(), flush=True)
for _ in sys.stdin:
    print(time.time(), time.monotonic(), flush=True)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_clock_jumps_while_its_process_runs_and_only_the_wall_clock(tmp_path):
    from chaos_run.clock import Clock, build

    clock = Clock(build(tmp_path), tmp_path / "shift")
    command = [sys.executable, "-c", SAYS_TIMES]
    env = {**os.environ, **clock.env}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def times():
            wall_s, monotonic_s = map(float, process.stdout.readline().split())
            return wall_s - time.time(), monotonic_s - time.monotonic()

        before = times()
        for jump_s in (40, -40, 0):
            clock.shift(jump_s)
            process.stdin.write("now\n")
            process.stdin.flush()
            wall_s, monotonic_s = times()
            assert abs(wall_s - before[0] - jump_s) < 20 and abs(monotonic_s - before[1]) < 20
        process.stdin.close()


def test_a_fault_waits_for_what_another_one_has_in_its_hands():
    from chaos_run.faults import _Hands

    class Place:
        def __init__(self) -> None:
            self.parts = {}

    async def main():
        hands, order = _Hands(Place()), []

        async def take(name, names):
            async with hands.holding(names):
                order.append(f"{name} begins")
                await asyncio.sleep(0.01)
                order.append(f"{name} ends")

        await asyncio.gather(take("one", {"api-0", "redis"}), take("two", {"redis"}), take("three", {"store"}))
        return order

    order = asyncio.run(main())
    assert order.index("one ends") < order.index("two begins")
    assert order.index("three begins") < order.index("one ends")
