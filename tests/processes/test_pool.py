"""A pool of processes: calls that are canceled or take too long end, and with them their processes."""

import asyncio
import os
import time

import psutil
import pytest

from processes.pool import CallTooSlow, Pool, ProcessDied

MEMORY_BYTES = 4 * 2**30


def mark_and_sleep(marker: str) -> None:
    """Runs in the pool."""
    with open(marker, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)


def time_out() -> None:
    """Runs in the pool; the error is the action's own."""
    raise TimeoutError("mine")


def run(scenario, workers=1):
    async def main():
        pool = Pool(workers, MEMORY_BYTES)
        try:
            return await asyncio.wait_for(scenario(pool), 100)
        finally:
            await pool.close()

    return asyncio.run(main())


async def pid_in(marker) -> int:
    while not (marker.exists() and marker.read_text()):
        await asyncio.sleep(0.01)
    return int(marker.read_text())


async def gone(pid: int) -> bool:
    for _ in range(1000):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        await asyncio.sleep(0.01)
    return False


def test_a_canceled_call_ends_with_its_process_and_the_next_call_runs(tmp_path):
    async def scenario(pool):
        call = asyncio.ensure_future(pool.run(mark_and_sleep, str(tmp_path / "pid")))
        pid = await pid_in(tmp_path / "pid")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await gone(pid)
        assert await pool.run(os.getpid) != pid

    run(scenario)


def test_a_call_over_its_limit_ends_with_its_process_and_is_not_a_death(tmp_path):
    async def scenario(pool):
        await pool.run(os.getpid)  # a process that has started
        with pytest.raises(CallTooSlow) as caught:
            await pool.run(mark_and_sleep, str(tmp_path / "pid"), limit_s=1.0)
        assert not isinstance(caught.value, ProcessDied)
        if (tmp_path / "pid").exists():
            assert await gone(int((tmp_path / "pid").read_text()))
        assert await pool.run(os.getcwd, limit_s=60) == os.getcwd()

    run(scenario)


def test_the_wait_for_a_free_process_does_not_count(tmp_path):
    async def scenario(pool):
        await pool.run(os.getpid)
        first = asyncio.ensure_future(pool.run(time.sleep, 1.0))
        await asyncio.sleep(0)
        await pool.run(time.sleep, 0.1, limit_s=0.8)
        await first

    run(scenario)


def test_a_timeout_error_of_the_action_is_its_own():
    async def scenario(pool):
        with pytest.raises(TimeoutError, match="mine"):
            await pool.run(time_out, limit_s=60)

    run(scenario)
