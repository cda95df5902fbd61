"""Keys with quotas, and API processes of their own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from jobs import api_keys
from jobs.quotas import parse_quotas

ROOT = Path(__file__).parents[3]


@pytest.fixture
def new_key(valkey: Any) -> Callable[..., dict[str, str]]:
    """Creates a key with quotas such as "jobs=3"; takes scopes and expires_ms as keywords.  Returns its headers."""

    async def create(quotas: tuple[str, ...], scopes: tuple[str, ...], options: dict[str, Any]) -> str:
        async with Redis.from_url(valkey.url) as redis:
            return (await api_keys.create(redis, "test", *scopes, quotas=parse_quotas(quotas), **options))[1]

    def make(*quotas: str, scopes: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
        return {"X-API-Key": asyncio.run(create(quotas, scopes, options))}

    return make


@pytest.fixture
def two_processes(valkey: Any, eventually: Callable[..., Any]) -> Iterator[list[httpx.Client]]:
    """Clients of two `undegrade api` processes that share one Redis; they need a key."""
    processes, clients = [], []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "UNDEGRADE_AUTH": "on", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cli", "api", "--bundle", "toy", "--redis-url", valkey.url]
    try:
        for i in range(2):
            path = valkey.folder / f"api-{i}"
            processes.append(subprocess.Popen([*command, "--unix-socket", path], env=environment))
            transport = httpx.HTTPTransport(uds=str(path))
            clients.append(httpx.Client(transport=transport, base_url="http://localhost", timeout=60))
        for i in range(2):
            eventually(lambda i=i: _listens(valkey.folder / f"api-{i}"), 60)
        yield clients
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            assert process.wait(30) == 128 + signal.SIGTERM
        assert not list(valkey.folder.glob("api-*")), "the sockets are gone"
        for client in clients:
            client.close()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture
def at_once() -> Callable[[list[Callable[[], Any]]], list[Any]]:
    """Calls functions in threads of their own, all at the same time, and returns what they return."""

    def run(calls: list[Callable[[], Any]]) -> list[Any]:
        answers, barrier = [None] * len(calls), threading.Barrier(len(calls))

        def call(place: int) -> None:
            barrier.wait(60)
            answers[place] = calls[place]()

        threads = [threading.Thread(target=call, args=(place,)) for place in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return answers

    return run
