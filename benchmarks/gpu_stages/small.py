"""The stage of autodir-small: one photo from pixels to pixels and from file to file, and where the time goes."""

import asyncio
import io
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_stages.mixed import engine_of, load, picture, through_engine
from gpu_stages.options import Options
from gpu_stages.runner import Row
from jobs.spec import JobControls
from models.photo.codec_pool import CodecPool
from models.restorer import Restorer
from worker.messages import Answer, Done, Failed, Task

TOGETHER = 8
OPERATIONS_SHOWN = 15


def small(options: Options) -> Iterator[Row]:
    """autodir-small as the bundle decides: ms per photo by size, images/s from file to file, the profiler's table."""
    sizes = ((64, 64), (96, 64)) if options.tiny else ((512, 512), (1152, 864), (4000, 3000))
    restorer = load(options)
    for width, height in sizes:
        pixels, repeats = np.asarray(picture(width, height)), 2 if options.tiny else 7
        through_engine(restorer, [pixels] * 3, 1, {}, options)  # a graph is captured at the third call
        times = [through_engine(restorer, [pixels], 1, {}, options) for _ in range(repeats)]
        yield {"photo": f"{width}x{height}", "from pixels to pixels, ms": 1000 * median(times), "n": repeats}
    for width, height in sizes[:1] if options.tiny else sizes[:2]:
        for processes in (1, 2) if options.tiny else (1, 2, 4, 8):
            yield asyncio.run(_file_to_file(restorer, (width, height), processes, options))
    yield from _profiled(restorer, np.asarray(picture(*sizes[0])), options)


async def _file_to_file(restorer: Restorer, size: tuple[int, int], processes: int, options: Options) -> Row:
    """JPEG files through decoders, the engine and encoders at the same time: the latency of one, then images/s."""
    file = io.BytesIO()
    picture(*size).save(file, "JPEG", quality=92)
    data, photos = file.getvalue(), 4 if options.tiny else 64
    codec = CodecPool(workers=processes)
    await codec.warm_up()
    pipeline = Pipeline(restorer, codec, options)
    try:
        await pipeline.restore([data] * (1 if options.tiny else TOGETHER))  # warm-up
        alone = [await pipeline.restore([data]) for _ in range(2 if options.tiny else 7)]
        seconds = await pipeline.restore([data] * photos)
    finally:
        await codec.close()
    return {
        "files": f"{size[0]}x{size[1]} JPEG", "codec processes": processes, "one, p50 ms": 1000 * median(alone),
        "n": len(alone), "photos": photos, "images/s": photos / seconds,
    }  # fmt: skip


class Pipeline:
    """Files to files: this process turns the engine, and the codec's processes decode and encode beside it."""

    def __init__(self, restorer: Restorer, codec: CodecPool, options: Options) -> None:
        self._codec, self._answers = codec, list[Answer]()
        self._engine = engine_of(restorer, TOGETHER, self._answers, options)
        self._ended: dict[str, asyncio.Future[NDArray[np.uint8] | NDArray[np.uint16]]] = {}

    async def restore(self, files: list[bytes]) -> float:
        """Returns the seconds until the last file is written to memory.

        Raises:
            RuntimeError: a photo failed.
        """
        start_s = time.perf_counter()
        at_a_time = asyncio.Semaphore(3 * TOGETHER)  # as in a worker, decoded photos do not pile up
        work = asyncio.gather(*(self._one(index, data, at_a_time) for index, data in enumerate(files)))
        while not work.done():
            if self._engine.busy:
                self._engine.turn()
                self._tell()
            await asyncio.sleep(0 if self._engine.busy else 0.0002)
        await work
        return time.perf_counter() - start_s

    async def _one(self, index: int, data: bytes, at_a_time: asyncio.Semaphore) -> None:
        async with at_a_time:
            photo = await self._codec.decode(data)
            ended = self._ended[str(index)] = asyncio.get_running_loop().create_future()
            controls = JobControls(seed=index)
            self._engine.admit(Task(id=str(index), pixels=photo.pixels, controls=controls, send_passes=False))
            await self._codec.encode(photo, await ended, "jpeg", 92)

    def _tell(self) -> None:
        """Pass results and failures on to those that wait for them."""
        for answer in self._answers:
            if isinstance(answer, Failed):
                self._ended.pop(answer.id).set_exception(RuntimeError(answer.detail))
            elif isinstance(answer, Done) and answer.pixels is not None:
                self._ended.pop(answer.id).set_result(answer.pixels)
        self._answers.clear()


def _profiled(restorer: Restorer, pixels: NDArray[np.uint8], options: Options) -> Iterator[Row]:
    """Where the time of one photo goes: of the device on CUDA, else of the processor."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if options.on_cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        through_engine(restorer, [pixels], 1, {}, options)
    key = "self_device_time_total" if options.on_cuda else "self_cpu_time_total"
    entries = sorted(profile.key_averages(), key=lambda entry: -getattr(entry, key))
    for entry in entries[:OPERATIONS_SHOWN]:
        yield {"operation": entry.key[:120], "calls": entry.count, "own ms": getattr(entry, key) / 1000}
