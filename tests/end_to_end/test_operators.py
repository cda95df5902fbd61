"""What operators do to a service that works: scale it to nothing and back, drain a worker, pause a lane.

The workers are real processes with a bundle of tiny random networks, so that eight of them start on two cores.
"""

import asyncio
import io
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from random_bundle import write_random_bundle
from redis import Redis as BlockingRedis
from rq import Worker as RqWorker

from jobs.state import State

pytestmark = pytest.mark.slow
WORKERS = 8
START_S = 300
"""Eight engines that load torch on a busy machine with two cores."""
PROMPT = {"prompt": "remove the noise"}


def tiny(index: int) -> bytes:
    data = io.BytesIO()
    Image.effect_noise((32, 32), 40 + index % 5).convert("RGB").save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "autodir-small"
    write_random_bundle(folder)
    return str(folder)


async def history(client, job):
    """Returns how a job ended and how often it was begun and ended: (state, attempts, deaths, begins, ends)."""
    record, events = await client.record(job), await client.queue.events(job.id)
    begins = sum(event.type == "started" for event in events)
    return record.state, record.attempts, record.deaths, begins, await client.ends(job)


async def all_ready(client, count):
    until_s = time.monotonic() + START_S
    while sum(worker.ready for worker in await client.queue.workers.alive()) < count:
        assert time.monotonic() < until_s, "the workers did not get ready"
        await asyncio.sleep(0.2)


@pytest.mark.timeout(1000)
def test_eight_workers_to_none_and_back_under_load_lose_no_job_and_begin_none_twice(place, bundle):
    """Jobs arrive all the time.  SIGTERM ends a worker as a platform does that scales in."""

    async def scenario(client):
        first = [place.worker("--bundle", bundle) for _ in range(WORKERS)]
        await all_ready(client, WORKERS)
        jobs, stop = [], asyncio.Event()

        async def submit_on():
            while not stop.is_set():
                jobs.append(await client.submit(tiny(len(jobs)), kind="detect"))
                await asyncio.sleep(0.02 if len(jobs) < 200 else 1)

        load = asyncio.create_task(submit_on())
        while len(jobs) < 100 or not (await client.record(jobs[10])).state.over:
            await asyncio.sleep(0.02)
        for worker in first:
            worker.kill(signal.SIGTERM)
        codes = [await asyncio.to_thread(worker.wait) for worker in first]
        at_zero, backlog = await client.queue.workers.alive(), await client.queue.backlog("autodir-small")
        while_none = len(jobs)
        while len(jobs) <= while_none:  # jobs are accepted without a worker
            await asyncio.sleep(0.05)
        for _ in range(WORKERS):
            place.worker("--bundle", bundle)
        await all_ready(client, WORKERS)
        stop.set()
        await load
        await client.ended(*jobs, timeout=200)
        return codes, at_zero, backlog, [await history(client, job) for job in jobs]

    codes, at_zero, backlog, histories = place.run(scenario, timeout=900)
    assert codes == [0] * WORKERS
    assert at_zero == [] and backlog.running == 0, "no lease is left behind"
    assert set(histories) == {(State.SUCCEEDED, 1, 0, 1, 1)}
    took = [worker.log.read_text().count('"job.ended"') for worker in place.workers]
    assert sum(took) == len(histories)
    assert any(took[:WORKERS]) and any(took[WORKERS:]), "both generations worked"


def undegrade(place, *words):
    """Runs the command on the queue's Redis."""
    command = [sys.executable, "-m", "cli", *words, "--redis-url", place.redis.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def rq_states(place):
    """Returns what RQ's own tools say of the workers."""
    with BlockingRedis.from_url(place.redis.url) as redis:
        return [worker.get_state() for worker in RqWorker.all(connection=redis)]


def test_a_drained_worker_finishes_what_it_holds_and_takes_nothing_until_it_is_resumed(place, bundle):
    place.worker("--bundle", bundle)

    async def scenario(client):
        await client.ready()
        (worker,) = await client.queue.workers.alive()
        long = {**PROMPT, "steps": 60}
        held = [await client.submit(tiny(i), controls={**long, "seed": i}) for i in range(3)]
        await client.until(held[0], lambda record: record.progress.step > 0)
        while len(await client.queue.redis.zrange("undegrade:leases", 0, -1)) < 3:
            await asyncio.sleep(0.02)
        drained = await asyncio.to_thread(undegrade, place, "workers", "drain", worker.host)
        assert drained.returncode == 0 and "draining" in drained.stderr
        late = await client.submit(tiny(7), controls=PROMPT)
        waited = await asyncio.to_thread(undegrade, place, "workers", "drain", worker.name, "--wait", "120")
        assert waited.returncode == 0 and ": drained" in waited.stderr
        states = [await history(client, job) for job in held]
        assert (await client.record(late)).state is State.QUEUED
        until_s = time.monotonic() + 30
        while await asyncio.to_thread(rq_states, place) != ["suspended"]:
            assert time.monotonic() < until_s
            await asyncio.sleep(0.1)
        for name in (worker.name, worker.host):
            assert (await asyncio.to_thread(undegrade, place, "workers", "resume", name)).returncode == 0
        await client.ended(late, timeout=60)
        return states, await history(client, late)

    states, late = place.run(scenario, timeout=280)
    assert set(states) == {(State.SUCCEEDED, 1, 0, 1, 1)} and late == (State.SUCCEEDED, 1, 0, 1, 1)


def test_a_host_stays_drained_when_its_worker_starts_again_and_a_paused_lane_waits_meanwhile(place, bundle):
    async def scenario(client):
        first = place.worker("--bundle", bundle)
        await client.ready()
        (worker,) = await client.queue.workers.alive()
        assert (await asyncio.to_thread(undegrade, place, "workers", "drain", worker.host)).returncode == 0
        first.kill(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait) == 0
        second = place.worker("--bundle", bundle)
        job = await client.submit(tiny(1), controls=PROMPT)
        await client.ready()
        until_s = time.monotonic() + 60
        while [entry.state for entry in await client.queue.workers.alive()] != ["drained"]:
            assert time.monotonic() < until_s
            await asyncio.sleep(0.1)
        assert (await client.record(job)).state is State.QUEUED
        await client.queue.pauses.pause("standard", "test")
        await client.queue.workers.resume(worker.host)
        other = await client.submit(tiny(2), controls=PROMPT, lane="interactive")
        await client.ended(other)
        assert (await client.record(job)).state is State.QUEUED, "its lane is paused"
        await client.queue.pauses.resume("standard")
        await client.ended(job)
        second.kill(signal.SIGTERM)
        return [await history(client, entry) for entry in (job, other)]

    assert set(place.run(scenario, timeout=280)) == {(State.SUCCEEDED, 1, 0, 1, 1)}
