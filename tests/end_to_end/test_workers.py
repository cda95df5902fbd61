"""Real workers on a real Valkey, and every process that can die while they work."""

import asyncio
import io
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.state import State
from models.controls import Controls
from models.drive import restore_one
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.restorer import Request

DIFFUSED = "remove the blur"
"""A repair for which the shipped bundle has no specialist: such a job takes as many steps as it asks for."""

BUNDLES = Path(__file__).parents[2] / "models" / "bundles"
BUNDLE, DACLIP = BUNDLES / "autodir-small", BUNDLES / "daclip-small"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def restored():
    """Returns what the command line's own loop makes of a PNG."""
    return as_the_command_line(BUNDLE)


def as_the_command_line(bundle):
    torch.set_num_threads(1)
    restorer = load_restorer(bundle, torch.device("cpu"))

    def restore(data, **controls):
        pixels = np.asarray(Image.open(io.BytesIO(data)))
        request = Request(image=to_tensor(pixels), controls=Controls(**{"steps": 2, "max_passes": 1, **controls}))
        return to_pixels(restore_one(restorer, request).image)

    return restore


def pixels_of(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_two_workers_share_sixty_jobs_and_each_result_is_the_command_lines(place, crop, restored):
    place.worker()
    place.worker()

    async def scenario(client):
        await client.ready(2)
        jobs = [
            await client.submit(crop(i), controls={"seed": i}, lane=("interactive", "standard", "bulk")[i % 3])
            for i in range(60)
        ]
        records = await client.ended(*jobs)
        return [(await client.picture(r), await client.ends(j)) for r, j in zip(records, jobs, strict=True)]

    for index, (data, ends) in enumerate(place.run(scenario)):
        assert ends == 1
        np.testing.assert_array_equal(pixels_of(data), restored(crop(index), seed=index))
    took = [worker.log.read_text().count('"job.ended"') for worker in place.workers]
    assert sum(took) == 60
    assert min(took) > 0, "both workers took jobs"


def test_two_families_on_one_worker_answer_as_each_does_alone(place, crop, restored):
    if not DACLIP.is_dir():
        pytest.skip("models/bundles/daclip-small is not there")
    other = as_the_command_line(DACLIP)
    place.worker("--bundle", BUNDLE.name, "--bundle", DACLIP.name)
    names = (BUNDLE.name, DACLIP.name)

    async def scenario(client):
        await client.ready(2)  # once for each bundle
        jobs = [await client.submit(crop(i), bundle=names[i % 2], controls={"seed": i}) for i in range(12)]
        records = await client.ended(*jobs)
        return [(record.outcome.degradations, await client.picture(record)) for record in records]

    for index, (degradations, data) in enumerate(place.run(scenario)):
        own = other if index % 2 else restored
        np.testing.assert_array_equal(pixels_of(data), own(crop(index), seed=index))
        assert ("shadow" in degradations) == bool(index % 2), "DA-CLIP's ten words, or AutoDIR's"


def test_a_cancel_during_denoising_frees_the_device_and_changes_no_other_job(place, crop, restored):
    place.worker("--max-batch", "2")

    async def scenario(client):
        await client.ready()
        endless = await client.submit(crop(2), controls={"steps": 1000, "prompt": DIFFUSED})
        beside = await client.submit(crop(1), controls={"seed": 1})
        await client.until(endless, lambda record: record.progress.step > 3)
        assert await client.queue.cancel(endless.id) is State.RUNNING
        (record,) = await client.ended(endless)
        (other,) = await client.ended(beside)
        return record, await client.picture(other)

    record, data = place.run(scenario)
    assert record.state is State.CANCELED
    assert record.outcome.result is None
    assert record.progress.step < 1000, "it did not run to its end"
    np.testing.assert_array_equal(pixels_of(data), restored(crop(1), seed=1))


def test_jobs_of_a_killed_worker_are_run_by_another_and_end_once(place, crop):
    doomed = place.worker("--max-batch", "8")

    async def scenario(client):
        await client.ready()
        jobs = [await client.submit(crop(3 * i), controls={"steps": 250, "prompt": DIFFUSED}) for i in range(8)]
        for job in jobs:
            await client.until(job, lambda record: record.state is State.RUNNING)
        doomed.kill(signal.SIGKILL)
        place.worker()
        await client.until(jobs[-1], lambda record: record.deaths > 0, 60)
        records = await client.ended(*jobs, timeout=150)
        return [(record, await client.ends(job)) for record, job in zip(records, jobs, strict=True)]

    for record, ends in place.run(scenario):
        assert (record.state, ends) == (State.SUCCEEDED, 1)


def test_a_killed_engine_is_replaced_and_its_jobs_run_again(place, crop):
    worker = place.worker()

    async def scenario(client):
        await client.ready()
        jobs = [await client.submit(crop(i), controls={"steps": 150, "prompt": DIFFUSED}) for i in range(3)]
        await client.until(jobs[0], lambda record: record.progress.step > 1)
        worker.engine().kill()
        return [(record, await client.ends(job)) for job in jobs for record in await client.ended(job)]

    for record, ends in place.run(scenario):
        assert (record.state, ends, record.deaths) == (State.SUCCEEDED, 1, 1)
    assert worker.process.poll() is None


def test_a_job_that_kills_its_engine_twice_fails_alone_as_suspected_poison(place, crop):
    """The test is the poison: whenever this job runs, the engine is killed."""
    worker = place.worker()

    async def scenario(client):
        await client.ready()
        long = {"steps": 300, "prompt": DIFFUSED}
        poison = await client.submit(crop(0), controls=long)
        good = [await client.submit(crop(i), controls={"steps": 40, "prompt": DIFFUSED}) for i in (1, 2)]
        for deaths in (0, 1):
            await client.until(poison, lambda r, deaths=deaths: r.progress.step > 1 and r.deaths == deaths)
            worker.engine().kill()
            await client.until(poison, lambda r, deaths=deaths: r.deaths > deaths)
        return await client.ended(poison, *good)

    poison, *good = place.run(scenario)
    assert (poison.state, poison.outcome.failure.code) == (State.FAILED, "poison-suspected")
    assert [record.state for record in good] == [State.SUCCEEDED, State.SUCCEEDED]


def test_a_bad_image_fails_alone_with_its_reason(place, crop):
    place.worker()

    async def scenario(client):
        await client.ready()
        whole = crop(1)
        cut = await client.submit(whole[: len(whole) // 2])
        good = await client.submit(whole)
        missing = await client.submit(whole, stored=False)
        return await client.ended(cut, good, missing)

    cut, good, missing = place.run(scenario)
    assert good.state is State.SUCCEEDED
    assert (missing.state, missing.outcome.failure.code) == (State.FAILED, "input-missing")
    assert (cut.state, cut.outcome.failure.code) == (State.FAILED, "bad-image")


def test_redis_restarted_under_load_loses_nothing(place, crop):
    place.worker()

    async def before(client):
        await client.ready()
        jobs = [await client.submit(crop(i), controls={"steps": 60, "prompt": DIFFUSED}) for i in range(12)]
        await client.until(jobs[0], lambda record: record.state is State.RUNNING)
        return jobs

    jobs = place.run(before)
    place.redis.process.kill()
    place.redis.process.wait()
    time.sleep(1)
    place.redis.start()

    async def after(client):
        records = await client.ended(*jobs)
        return [(record.state, await client.ends(job)) for record, job in zip(records, jobs, strict=True)]

    assert place.run(after) == [(State.SUCCEEDED, 1)] * 12


def test_sigterm_finishes_the_held_jobs_and_leaves_the_rest_queued(place, crop):
    worker = place.worker("--max-batch", "1")

    async def scenario(client):
        await client.ready()
        jobs = [await client.submit(crop(i), controls={"steps": 30, "prompt": DIFFUSED}) for i in range(12)]
        await client.until(jobs[0], lambda record: record.progress.step > 0)
        worker.kill(signal.SIGTERM)
        code = await asyncio.to_thread(worker.wait)
        records = [await client.record(job) for job in jobs]
        place.worker()
        return code, records, await client.ended(*jobs)

    code, records, ended = place.run(scenario)
    assert code == 0
    assert records[0].state is State.SUCCEEDED
    assert {record.state for record in records} <= {State.SUCCEEDED, State.QUEUED}
    assert records[-1].state is State.QUEUED
    assert all(record.attempts == (1 if record.state is State.SUCCEEDED else 0) for record in records)
    assert all((record.state, record.attempts, record.deaths) == (State.SUCCEEDED, 1, 0) for record in ended)
