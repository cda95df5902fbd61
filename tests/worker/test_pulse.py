"""The gauges that a worker writes every second."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest
from redis.exceptions import ConnectionError as RedisConnectionError

from jobs.queue import Queue
from worker.metrics import WorkerMetrics
from worker.probes import SILENT_S, Heartbeat
from worker.pulse import Pulse


class Clock:
    """A Redis whose clock is `ahead_s` before ours; None: it is away."""

    def __init__(self, ahead_s):
        self.ahead_s = ahead_s

    clock_skew_s = Queue.clock_skew_s

    async def now_ms(self):
        if self.ahead_s is None:
            raise RedisConnectionError("away")
        return int((time.time() + self.ahead_s) * 1000)


def runs(*begun_at_s):
    return [SimpleNamespace(begun_at_s=begin) for begin in begun_at_s]


def pulse(held=(), ready="an engine", ahead_s=0.0, clock=time.monotonic):
    return Pulse(Clock(ahead_s), SimpleNamespace(ready=ready), list(held), WorkerMetrics(), Heartbeat(clock))


def values(metrics):
    lines = [line.split(" ") for line in generate_latest(metrics.registry).decode().splitlines() if line[0] != "#"]
    return {name.removeprefix("undegrade_"): float(value) for name, value in lines if "{" not in name}


def test_the_start_of_the_oldest_job_in_the_engine_is_told():
    here = pulse(runs(None, 500.25, 400.5))
    here.measure(1000.0)
    found = values(here.metrics)
    assert (found["worker_oldest_job_start_timestamp_seconds"], found["worker_jobs_held"]) == (400.5, 3)
    assert (found["worker_last_tick_timestamp_seconds"], found["engine_ready"]) == (1000.0, 1)


def test_a_worker_without_work_and_engine_says_so():
    here = pulse(runs(None), ready=None)
    here.measure(1000.0)
    found = values(here.metrics)
    assert (found["worker_oldest_job_start_timestamp_seconds"], found["engine_ready"]) == (0, 0)


@pytest.mark.parametrize("ahead_s", [30.0, -30.0])
def test_the_clock_is_compared_with_that_of_redis(ahead_s):
    here = pulse(ahead_s=ahead_s)

    async def a_while():
        task = asyncio.create_task(here.run())
        while values(here.metrics)["worker_clock_skew_seconds"] == 0:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(a_while(), 20))
    assert values(here.metrics)["worker_clock_skew_seconds"] == pytest.approx(-ahead_s, abs=5)


def test_the_tick_goes_on_while_redis_is_away():
    now_s = 0.0
    here = pulse(ahead_s=None, clock=lambda: now_s)
    now_s = SILENT_S + 1
    assert here.heartbeat.reasons() == ["the event loop has not run for 31 s"]

    async def a_while():
        task = asyncio.create_task(here.run())
        while values(here.metrics)["worker_last_tick_timestamp_seconds"] == 0:
            await asyncio.sleep(0.01)
        assert not task.done() and here.heartbeat.reasons() == []
        task.cancel()

    asyncio.run(asyncio.wait_for(a_while(), 20))
