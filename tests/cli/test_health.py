"""`undegrade health` beside a real API, a real worker and a real Valkey."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cli.embedded_redis import EmbeddedRedis
from cli.listening import listen
from jobs.record import WorkerInfo
from jobs.worker_registry import WorkerRegistry

ROOT = Path(__file__).parents[2]
START_S = 120


@pytest.fixture
def redis(tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def announce(redis):
    """Announces workers, as their own processes do."""

    def say(name: str, host: str | None = None, **fields) -> None:
        info = WorkerInfo(
            name=name, host=host or socket.gethostname(), family="autodir", bundle_version="0", device="cpu",
            lanes=("standard",), max_batch=1, started_ms=0, **{"bundle": "autodir-small", **fields},
        )  # fmt: skip

        async def run() -> None:
            async with Redis.from_url(redis.url) as client:
                await WorkerRegistry(client).announce(info)

        asyncio.run(run())

    return say


@contextmanager
def running(*words: str, **settings: str):
    """A command as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *words], env={**os.environ, "OMP_NUM_THREADS": "1", **settings}, cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(run, code: int):
    """Repeat a check until its exit code is this one."""
    end_s = time.monotonic() + START_S
    while (result := run()).code != code:
        assert time.monotonic() < end_s, result.err
        time.sleep(0.3)
    return result


def free_port() -> int:
    sockets = listen("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    for entry in sockets:
        entry.close()
    return port


@pytest.fixture
def service_settings(redis, monkeypatch):
    """The settings of an API and a worker, for their processes and for the checks in this one."""
    values = {"UNDEGRADE_PORT": str(free_port()), "UNDEGRADE_REDIS_URL": redis.url}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def test_an_api_is_ready_once_it_runs_without_a_worker_and_lives_without_redis(undegrade, redis, service_settings):
    assert undegrade("health", "api").code == 1  # nothing runs yet
    with running("api", **service_settings):
        until(lambda: undegrade("health", "api", "--live"), 0)
        assert undegrade("health", "api").code == 0
        redis.kill()
        assert "Redis" in until(lambda: undegrade("health", "api"), 1).err
        assert undegrade("health", "api", "--live").code == 0


@pytest.mark.slow
def test_a_worker_is_ready_once_its_engine_is_and_lives_without_redis(undegrade, redis, bundles, service_settings):
    assert undegrade("health", "worker").code == 1  # nothing runs yet
    with running("worker", "--device", "cpu", UNDEGRADE_BUNDLES=str(bundles), **service_settings):
        until(lambda: undegrade("health", "worker", "--live"), 0)
        assert "is ready" in until(lambda: undegrade("health", "worker"), 0).err
        redis.kill()
        without = undegrade("health", "worker")
        assert (without.code, "does not answer" in without.err) == (1, True)
        assert undegrade("health", "worker", "--live").code == 0


def test_a_worker_that_loads_is_alive_and_its_reason_is_shown(undegrade, redis, announce):
    announce("one", reason="the engine loads its bundles")
    result = undegrade("health", "worker", "--redis-url", redis.url)
    assert (result.code, "the engine loads its bundles" in result.err) == (1, True)
    assert undegrade("health", "worker", "--live", "--redis-url", redis.url).code == 0


def test_workers_of_other_hosts_do_not_count(undegrade, redis, announce):
    announce("other", host="elsewhere", ready=True)
    for words in ((), ("--live",)):
        result = undegrade("health", "worker", "--redis-url", redis.url, *words)
        assert (result.code, "no worker of the host" in result.err) == (1, True)


def test_a_new_worker_is_not_ready_because_a_killed_one_was(undegrade, redis, announce):
    announce("killed", ready=True)
    announce("new", ready=False)
    assert undegrade("health", "worker", "--redis-url", redis.url).code == 1


def test_every_bundle_of_a_worker_must_be_ready(undegrade, redis, announce):
    announce("one", ready=True)
    announce("one", ready=False, bundle="portraits", reason="damaged")
    result = undegrade("health", "worker", "--redis-url", redis.url)
    assert (result.code, "portraits: damaged" in result.err) == (1, True)


def test_another_program_on_the_port_is_not_the_api(undegrade, file_server):
    result = undegrade("health", "api", "--port", file_server.port)
    assert (result.code, "Another program" in result.err) == (1, True)


def test_an_api_that_does_not_answer_is_not_waited_for(undegrade):
    (silent,) = listen("127.0.0.1", 0)  # accepts, and never answers
    with silent:
        result = undegrade("health", "api", "--timeout", 0.2, "--port", silent.getsockname()[1])
    assert (result.code, "timed out" in result.err) == (1, True)


def test_the_address_of_all_interfaces_is_asked_on_this_machine(undegrade, file_server):
    result = undegrade("health", "api", "--host", "0.0.0.0", "--port", file_server.port)
    assert f"http://127.0.0.1:{file_server.port}" in result.err


@pytest.mark.parametrize(
    "words",
    [(), ("queue",), ("api", "--port", 0), ("api", "--timeout", 0), ("worker", "--redis-url", "http://here")],
)
def test_a_wrong_word_is_a_usage_error(undegrade, words):
    assert undegrade("health", *words).code == 2


def test_no_password_is_shown(undegrade):
    result = undegrade("health", "worker", "--redis-url", "redis://:geheim@127.0.0.1:1/0")
    assert result.code == 1
    assert "geheim" not in result.err + result.text
