"""The end of a worker does not depend on Redis."""

import asyncio
from pathlib import Path

import pytest

import worker.supervisor
from worker.engine_config import EngineConfig
from worker.supervisor import Supervisor, WorkerConfig

HANG_S = 30
"""What never ends is ended by then."""


async def never(*_: object, **named: object) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def config() -> WorkerConfig:
    engine = EngineConfig(bundles={"toy": Path("/nowhere")})
    return WorkerConfig(redis_url="redis://127.0.0.1:1/0", store_url="redis://", engine=engine, grace_s=0)


def test_a_drain_does_not_wait_for_a_lease_that_is_never_answered(config, monkeypatch):
    monkeypatch.setattr(worker.supervisor, "CLOSE_S", 0.05)

    async def drain() -> None:
        supervisor = Supervisor(config)
        (work,) = supervisor.works.all
        work.leasing.run = never
        work.queue.release = work.queue.release_unheld = never
        work.announcer.withdraw = never
        supervisor.drain()
        async with asyncio.timeout(HANG_S):
            await supervisor._lease_until_drained()
            await supervisor._finish_held()
            await supervisor._close()

    asyncio.run(drain())


def test_an_error_of_leasing_is_not_lost(config):
    async def broken(draining: asyncio.Event) -> None:
        raise RuntimeError("broken")

    async def run() -> None:
        supervisor = Supervisor(config)
        supervisor.works.all[0].leasing.run = broken
        async with asyncio.timeout(HANG_S):
            await supervisor._lease_until_drained()

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(run())
