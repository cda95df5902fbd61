"""The worker's probes over HTTP, beside its metrics."""

import asyncio
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from worker.engine_config import EngineConfig
from worker.metrics import WorkerMetrics
from worker.probes import SILENT_S, Heartbeat
from worker.supervisor import Supervisor, WorkerConfig


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port, path):
    """The status, the type and the body of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def probe(port, path):
    """The status and the reasons of a probe."""
    status, kind, body = get(port, path)
    assert kind == "application/json"
    return status, json.loads(body)["reasons"]


@pytest.fixture
def supervisor():
    async def make():
        engine = EngineConfig(bundles={"toy": Path("/nowhere")})
        return Supervisor(WorkerConfig(redis_url="redis://127.0.0.1:1/0", store_url="redis://", engine=engine))

    return asyncio.run(make())


@pytest.fixture
def port(supervisor):
    number = free_port()
    supervisor.metrics.serve(number, "127.0.0.1", supervisor._probes())
    return number


def test_metrics_answer_beside_the_probes(port):
    status, kind, body = get(port, "/metrics")
    assert status == 200 and kind.startswith("text/plain")
    assert "undegrade_engine_restarts_total" in body


def test_a_worker_that_loads_is_alive_but_neither_started_nor_ready(port):
    assert probe(port, "/livez") == (200, [])
    assert probe(port, "/startupz") == (503, ["the engine loads its bundles"])
    assert probe(port, "/readyz") == (503, ["the engine loads its bundles"])


def test_a_worker_whose_engine_is_replaced_stays_started_and_says_why_it_is_not_ready(port, supervisor):
    supervisor._ready.set()
    supervisor.link.ready = object()
    assert probe(port, "/startupz") == probe(port, "/readyz") == (200, [])
    supervisor.link.ready = None
    supervisor.keeper.trouble = "the engine was killed; a new one starts in 4 s"
    assert probe(port, "/startupz") == (200, [])
    assert probe(port, "/readyz") == (503, ["the engine was killed; a new one starts in 4 s"])
    assert probe(port, "/livez") == (200, [])


def test_a_worker_that_drains_is_not_ready(port, supervisor):
    supervisor.link.ready = object()

    async def drain():  # as a signal handler of the loop
        supervisor.drain()

    asyncio.run(drain())
    assert probe(port, "/readyz") == (503, ["the worker drains"])
    assert probe(port, "/livez") == (200, [])


def test_an_event_loop_that_hangs_is_not_alive_until_it_runs_again():
    now_s = 0.0
    heartbeat, number = Heartbeat(clock=lambda: now_s), free_port()
    WorkerMetrics().serve(number, "127.0.0.1", {"/livez": heartbeat.reasons})
    now_s = SILENT_S
    assert probe(number, "/livez") == (200, [])
    now_s = SILENT_S + 1
    assert probe(number, "/livez") == (503, ["the event loop has not run for 31 s"])
    heartbeat.tick()
    assert probe(number, "/livez") == (200, [])


def test_a_loop_of_the_supervisor_that_has_ended_is_no_life():
    async def broken():
        raise RuntimeError("broken")

    async def run():
        heartbeat = Heartbeat()
        tasks = [asyncio.create_task(broken()), asyncio.create_task(asyncio.Event().wait())]
        heartbeat.watch(tasks)
        assert heartbeat.reasons() == []
        await asyncio.sleep(0)
        reasons = heartbeat.reasons()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return reasons

    assert asyncio.run(run()) == ["1 of 2 loops have ended"]
