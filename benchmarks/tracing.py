"""Measure what tracing costs a request, with three services side by side on one machine.

    off       no endpoint
    on        every trace is sent to a collector that takes it
    hanging   the collector accepts connections and never answers

Blocks of requests go to the three in turn, so that load and caches affect all alike.  Each request restores a 128 px
PNG in one step (`POST /restore` with `Accept: image/*`), which is 14 spans or more.  CPU seconds are those of API,
Valkey, supervisor, image processes and engine together; the collector runs elsewhere.

A first table has the CPU time of the spans alone, without a service: 15 for a job, made, encoded and sent.

Example: OMP_NUM_THREADS=1 python benchmarks/tracing.py --repeats 200
"""

import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from urllib.parse import urlencode

import numpy as np
import psutil
from conditions import NOISY_PHOTO, header, make_parser
from PIL import Image
from served import serving

from jobs.tracing.opening import open_tracer

BLOCK = 10
QUERY = urlencode({"prompt": "remove the blur", "steps": 1, "seed": 1})


@dataclass
class Side:
    """A running service and what was measured of it."""

    name: str
    port: int
    process: psutil.Process
    blocks: list[list[float]] = field(default_factory=list)  # seconds of each request
    cpu_s: float = 0.0

    def measure(self, picture: bytes) -> None:
        before_s, seconds = self._cpu_s(), []
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as client:
            for _ in range(BLOCK):
                start_s = time.perf_counter()
                client.request("POST", f"/restore?{QUERY}", picture, {"Content-Type": "image/png", "Accept": "image/*"})
                with client.getresponse() as answer:
                    body = answer.read()
                if answer.status != 200:
                    raise RuntimeError(body.decode())
                seconds.append(time.perf_counter() - start_s)
        self.blocks.append(seconds)
        self.cpu_s += self._cpu_s() - before_s

    def _cpu_s(self) -> float:
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def row(self, off: "Side") -> str:
        p50, p95 = (1000 * float(v) for v in np.percentile([s for block in self.blocks for s in block], [50, 95]))
        added = [median(own) - median(other) for own, other in zip(self.blocks, off.blocks, strict=True)]
        low, middle, high = (1000 * float(v) for v in np.percentile(added, [25, 50, 75]))
        cpu_ms = 1000 * self.cpu_s / (BLOCK * len(self.blocks))
        return f"| {self.name} | {p50:.1f} | {p95:.1f} | {middle:+.1f} ({low:+.1f}, {high:+.1f}) | {cpu_ms:.1f} |"


@contextmanager
def collecting(hang: bool) -> Iterator[tuple[str, list[int]]]:
    """Yields the endpoint of a collector and the sizes of what it was sent."""
    sizes: list[int] = []
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sizes.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            if hang:
                ended.wait()
                return
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", sizes
        ended.set()
        server.shutdown()


@contextmanager
def one_side(name: str, endpoint: str | None) -> Iterator[Side]:
    """Start a service that sends its traces to this endpoint, or sends none."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    with serving(env=env | ({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if endpoint else {})) as served:
        yield Side(name, served.port, psutil.Process(served.process))


def spans(jobs: int) -> Iterator[str]:
    """Measure the spans of jobs in this process: CPU time of all threads, the exporter and the collector included."""
    yield "| spans of one job | CPU ms |"
    yield "|---|---|"
    for name, hang in (("off", None), ("on", False), ("hanging collector", True)):
        with collecting(bool(hang)) as (endpoint, _):
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "" if hang is None else endpoint
            tracer = open_tracer("benchmark", "1")
            start_s = time.process_time()
            for _ in range(jobs):
                root = tracer.start("process", None, kind="consumer", attributes={"undegrade.job.id": "0" * 32})
                for number in range(14):
                    root.child("stage", attributes={"undegrade.pass.index": number}).end()
                root.end()
            tracer.close()
            yield f"| {name} | {1000 * (time.process_time() - start_s) / jobs:.3f} |"
    del os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]


def measure(repeats: int) -> Iterator[str]:
    with Image.open(NOISY_PHOTO) as photo:
        photo.convert("RGB").crop((0, 0, 128, 128)).save(data := io.BytesIO(), "PNG")
    with ExitStack() as stack:
        taken, sizes = stack.enter_context(collecting(hang=False))
        hanging, _ = stack.enter_context(collecting(hang=True))
        ends = {"off": None, "on": taken, "hanging collector": hanging}
        sides = [stack.enter_context(one_side(name, endpoint)) for name, endpoint in ends.items()]
        for side in sides:
            side.measure(data.getvalue())  # warm-up
            side.blocks, side.cpu_s = [], 0.0
        for number in range(-(-repeats // BLOCK)):
            for side in (*sides[number % 3 :], *sides[: number % 3]):
                side.measure(data.getvalue())
        yield "| tracing | p50 ms | p95 ms | added to the median of a block, ms (quartiles) | CPU ms per request |"
        yield "|---|---|---|---|---|"
        yield from (side.row(sides[0]) for side in sides)
        yield ""
        yield f"{repeats} requests to each; the collector got {sum(sizes):,} bytes in {len(sizes)} requests."


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=200, help="requests to each service")
    options = parser.parse_args()
    print(header("tracing"), "", *spans(500), "", sep="\n", flush=True)
    print(*measure(options.repeats), sep="\n", flush=True)


if __name__ == "__main__":
    main()
