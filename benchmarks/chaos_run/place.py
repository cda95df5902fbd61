"""The real parts of a run on this machine: Redis or Sentinels, a store, APIs, workers, and a webhook process."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
from redis.exceptions import RedisError
from s3_servers import CREDENTIALS, seaweed_server
from sentinel_trio import SERVICE, SentinelTrio, Server
from webhook_receiver import Receiver

from chaos_run.clock import Clock, build, can_shift
from chaos_run.links import Link, Links
from chaos_run.parts import MARK, ROOT, Part, free_port, processes_of, python, until
from chaos_run.pictures import bundle_folder
from chaos_run.schedule import APIS, WORKERS

CLOCKS = ("api-1", "worker-2")
"""The parts whose clocks may jump."""
NO_REDIS = 5
"""The exit code of an API that is started while Redis is away: whoever runs it starts it again."""
STORE_DISK_MIB, REDIS_DISK_MIB = 256, 768
READY_S = 900.0
"""A machine whose cores are busy needs minutes for what takes 15 s on an idle one."""
REDIS_LINES = 'save ""\nappendonly yes\nappendfsync always\nmaxmemory 512mb\nmaxmemory-policy noeviction\n'
"""With `everysec`, a kill of Redis could lose a second of jobs that were accepted, and nothing could be claimed."""


@dataclass(frozen=True)
class Wish:
    """What a run is made of.  `redis`: one or sentinel; `store`: folder or s3; `clock`: try jumps of the clock."""

    redis: str = "one"
    store: str = "folder"
    clock: bool = False


class Place:
    """Everything that is started, by name.  `have`: what faults need (`Kind.needs`); `without`: why some is missing."""

    def __init__(self, folder: Path, pictures: Path, wish: Wish) -> None:
        self.folder, self.pictures, self.wish, self.run = folder, pictures, wish, uuid4().hex
        self.have: set[str] = set()
        self.without: list[str] = []
        self.parts: dict[str, Part] = {}
        self.links: dict[int, Link] = {}
        self.surprises: list[str] = []
        self.version = 0
        self.clocks: dict[str, Clock] = {}
        self.ports: dict[str, int] = {}
        self._closers: list[Callable[[], object]] = []
        self.net = Links()
        self.receiver = Receiver()
        self.store_link: Link | None = None
        self.disks: dict[str, Path] = {}
        self.trio: SentinelTrio | None = None
        self.server: Server | None = None

    def open(self) -> None:
        """Start everything but the parts that are ours.

        Raises:
            OSError, AssertionError: a server does not start; the message has its log.
        """
        self._closers.append(self.net.close)
        listening = self.receiver.listening()
        listening.__enter__()
        self._closers.append(lambda: listening.__exit__(None, None, None))
        self._open_redis()
        self.store_url, self.store_folder = self._open_store()
        self._offer_clock()
        self._make_parts()

    def _open_redis(self) -> None:
        if self.wish.redis == "sentinel":
            self.trio = SentinelTrio(lines=REDIS_LINES)
            self._closers.append(self.trio.close)
            self.have.add("sentinel")
            self.without.append("links are not hurt: Sentinel tells clients the servers' own addresses")
            return
        folder = self._disk("redis", REDIS_DISK_MIB)
        self.server = Server(folder, "one", REDIS_LINES)
        self._closers.append(self._end_server)
        self.have |= {"one-redis", "links"}
        if "redis" in self.disks:
            self.have.add("redis-disk")

    def _end_server(self) -> None:
        if self.server is not None:
            self.server.resume()
            self.server.kill()

    def _open_store(self) -> tuple[str, Path | None]:
        if self.wish.store == "folder":
            folder = self._disk("store", STORE_DISK_MIB)
            if "store" in self.disks:
                self.have.add("store-disk")
            return f"file://{folder}/blobs", folder / "blobs"
        os.environ |= CREDENTIALS  # the runner itself lists the store at the end
        data = self.folder / "seaweed"
        data.mkdir()
        serving = seaweed_server(data)
        endpoint = serving.__enter__()
        self._closers.append(lambda: serving.__exit__(None, None, None))
        self.store_link = self.net.open(int(endpoint.rpartition(":")[2]), (0.3, 1.5))
        self.have.add("store-front")
        front = f"http://127.0.0.1:{self.store_link.port}"
        return f"s3://chaos/blobs?region=us-east-1&endpoint={front}", None

    def _disk(self, name: str, size_mib: int) -> Path:
        """Returns a folder on a small disk of its own where this process may mount one."""
        folder = self.folder / name
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", f"chaos-{name}", str(folder)]
        if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            self.disks[name] = folder
            self._closers.append(
                lambda: subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
            )
        else:
            self.without.append(f"no full disk of the {name}: that needs root, to mount a tmpfs")
        return folder

    def _offer_clock(self) -> None:
        if not self.wish.clock or not can_shift():
            why = "there is no C compiler (cc)" if self.wish.clock else "not asked for (--clock)"
            self.without.append(f"no jumps of the clock: {why}")
            return
        library = build(self.folder)
        self.clocks = {name: Clock(library, self.folder / f"clock-{name}") for name in CLOCKS}
        self.have.add("clock")

    def _make_parts(self) -> None:
        origin = self.receiver.origin
        for number in range(APIS):
            self._part(number, f"api-{number}", "api", {"UNDEGRADE_WEBHOOK_HOSTS": origin})
        for number in range(WORKERS):
            self._part(APIS + number, f"worker-{number}", "worker", {})
        self._part(APIS + WORKERS, "webhooks", "webhooks", {"UNDEGRADE_WEBHOOK_HOSTS": origin})

    def _part(self, number: int, name: str, kind: str, extra: dict[str, str]) -> None:
        env = {
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1", MARK: self.run,
            "HOME": str(self.folder), "UNDEGRADE_REDIS_URL": self._redis_url(number),
            "UNDEGRADE_STORE_URL": self.store_url,
            "UNDEGRADE_MAX_QUEUED": "100000", "UNDEGRADE_GRACE_S": "5", "UNDEGRADE_BUNDLE": "autodir-small",
            "UNDEGRADE_ACCESS_LOG": "all", **CREDENTIALS, **extra,
        }  # fmt: skip
        if self.trio is not None:
            env["UNDEGRADE_REDIS_WAIT_REPLICAS"] = "1"
        if kind == "api":
            self.ports[name] = free_port()
        words = {"api": ["--port", str(self.ports.get(name))], "worker": ["--device", "cpu"]}.get(kind, [])
        if name in self.clocks:
            env |= self.clocks[name].env
        self.parts[name] = Part(name, kind, python(kind, *words), self.folder / f"{name}.log", env)

    def _redis_url(self, number: int) -> str:
        if self.trio is not None:
            return self.trio.url()
        assert self.server is not None
        self.links[number] = self.net.open(self.server.port)
        return f"redis://127.0.0.1:{self.links[number].port}/0"

    @property
    def redis_url(self) -> str:
        """The URL for the runner's own clients, past the links."""
        if self.trio is not None:
            return self.trio.url()
        assert self.server is not None
        return f"redis://127.0.0.1:{self.server.port}/0"

    def primary(self) -> Server:
        """Returns the Redis server that takes writes, as the Sentinels say."""
        if self.trio is None:
            assert self.server is not None
            return self.server
        for sentinel in self.trio.sentinels:
            try:
                with sentinel.client() as client:
                    port = int(client.sentinel_get_master_addr_by_name(SERVICE)[1])
                return next(server for server in self.trio.servers if server.port == port)
            except (RedisError, OSError, TypeError, StopIteration):
                continue
        return self.trio.servers[0]

    def of_kind(self, kind: str) -> list[Part]:
        """Returns the parts of a kind: api, worker or webhooks."""
        return [part for part in self.parts.values() if part.kind == kind]

    @property
    def api_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports.values()]

    def start_part(self, part: Part) -> None:
        """Start a part, with the bundle of this run's current version."""
        part.env["UNDEGRADE_BUNDLES"] = str(bundle_folder(self.pictures, self.version).parent)
        part.start()

    async def start_parts(self) -> None:
        """Start all parts, and wait until APIs and workers are ready.

        Raises:
            TimeoutError: they are not.
        """
        for part in self.parts.values():
            self.start_part(part)
        await self.until_ready(READY_S)

    async def until_part_ready(self, part: Part, within_s: float) -> None:
        """Wait until a part that has just been started can work; a webhook process tells nobody.

        Raises:
            TimeoutError: it cannot in time.
        """
        until_s = time.monotonic() + within_s
        async with httpx.AsyncClient(timeout=5) as client:
            while not await self._ready(client, part):
                if time.monotonic() > until_s:
                    raise TimeoutError(f"{part.name} is not ready after {within_s:g} s; see {part.log}")
                await asyncio.sleep(0.2)

    async def _ready(self, client: httpx.AsyncClient, part: Part) -> bool:
        if part.kind == "api":
            with contextlib.suppress(httpx.TransportError):
                return (await client.get(f"http://127.0.0.1:{self.ports[part.name]}/readyz")).status_code == 200
            return False
        return part.kind != "worker" or b'"engine.ready"' in part.output()

    async def until_ready(self, within_s: float) -> None:
        """Wait until all workers are known and ready, and both APIs answer.

        Raises:
            TimeoutError: they are not; the message names the logs.
        """
        until_s = time.monotonic() + within_s
        for part in self.parts.values():
            await self.until_part_ready(part, max(0.0, until_s - time.monotonic()))

    def keep_running(self) -> None:
        """Start again what has ended although no fault did that, and remember it."""
        for part in self.parts.values():
            if not part.busy and not part.running:
                if not (part.code == NO_REDIS and b"cannot reach Redis" in part.output()):
                    self.surprises.append(f"{part.name} ended with code {part.code}; see {part.log}")
                self.start_part(part)

    def close(self) -> list[str]:
        """End everything.  Returns the processes of this run that are left, which are killed, too."""
        for part in self.parts.values():
            part.busy = True
            part.send(signal.SIGCONT)
            part.kill()
        with contextlib.suppress(TimeoutError):  # children of parts end with their parents
            until(lambda: not processes_of(self.run), "the end of all processes", 10)
        left = []
        for process in processes_of(self.run):
            try:
                left.append(f"{process.pid} {' '.join(process.cmdline())[:100]}")
                process.kill()
            except psutil.Error:
                continue
        for close in reversed(self._closers):
            close()
        return left


def make_pictures(folder: Path) -> None:
    """Write bundles, inputs and right results into a folder, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "OMP_NUM_THREADS": "1"}
    folder.mkdir(parents=True)
    try:
        subprocess.run([sys.executable, "-m", "chaos_run.pictures", str(folder)], cwd=ROOT, env=env, check=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
