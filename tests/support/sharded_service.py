"""The service on several real Valkeys: an API, workers and webhook processes, each a process of its own."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from observed_service import Process, free_port
from redis import Redis
from webhook_receiver import Receiver

from cli.embedded_redis import EmbeddedRedis
from jobs.shards.numbers import shard_of

WAIT_S = 240
"""For machines with other work."""


class ShardedService:
    """The servers, shard 0 first, and the processes on them.  As a context manager, it starts the servers and the API.

    The servers write each command to disk before they answer, so `kill -9` loses nothing.
    """

    def __init__(self, folder: Path, receiver: Receiver, shards: int = 3) -> None:
        self.folder, self.receiver, self.port = folder, receiver, free_port()
        self.servers = [EmbeddedRedis(folder / f"redis-{number}") for number in range(shards)]
        self.processes: list[Process] = []
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self._open = ExitStack()

    def __enter__(self) -> "ShardedService":
        for server in self.servers:
            self._open.enter_context(server)
            with Redis.from_url(server.url) as redis:
                redis.config_set("appendfsync", "always")
        self.start("api", "--port", str(self.port))
        self.until(self._lives, "the API answers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
        self.client.close()
        self._open.close()

    @property
    def env(self) -> dict[str, str]:
        return {
            "UNDEGRADE_REDIS_URL": " ".join(server.url for server in self.servers), "UNDEGRADE_STORE_URL": "redis://",
            "UNDEGRADE_AUTH": "off", "UNDEGRADE_WEBHOOK_HOSTS": self.receiver.origin,
        }  # fmt: skip

    def start(self, *words: str) -> Process:
        """Starts `undegrade WORDS`."""
        log = self.folder / f"{words[0]}-{len(self.processes)}.log"
        process = Process([sys.executable, "-m", "cli", *words], log, self.env)
        self.processes.append(process)
        return process

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Runs `undegrade WORDS` on the servers, as an operator does."""
        run = Process([sys.executable, "-m", "cli", *words], self.folder / "command.log", self.env)
        code = run.process.wait(120)
        text = run.log.read_text()
        run.log.unlink()
        return subprocess.CompletedProcess(words, code, text)

    def kill(self, number: int) -> None:
        """Kills a server with -9, and waits until the API has noticed."""
        server = self.servers[number].process
        assert server is not None
        server.kill()
        server.wait(30)
        self.until(lambda: number in self.client.get("/jobs").json()["missing_shards"], "the API misses the server")

    def bring_back(self, number: int) -> None:
        """Starts a killed server again with its data, and waits until the API uses it."""
        self.servers[number].start()
        self.until(lambda: number not in self.client.get("/jobs").json()["missing_shards"], "the API uses the server")

    def until(self, check: Callable[[], Any], what: str) -> Any:
        """Waits until a check returns something true, and returns that."""
        until_s = time.monotonic() + WAIT_S
        while not (value := check()):
            ended = [process.log.name for process in self.processes if process.process.poll() is not None]
            assert not ended and time.monotonic() < until_s, f"not so: {what}; ended: {ended}\n{self.logs()}"
            time.sleep(0.05)
        return value

    def logs(self) -> str:
        return "\n".join(f"{process.log.name}: {process.log.read_text()[-3000:]}" for process in self.processes)

    def submit(self, image: bytes, path: str, **fields: str) -> str:
        """Submits an image whose webhook goes to a path of the receiver.  Returns the job's id."""
        fields["webhook_url"] = self.receiver.origin + path
        answer = self.client.post("/restore", files={"image": image}, data=fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def on_shards(self, submit: Callable[[], str], count: int, *numbers: int) -> dict[int, list[str]]:
        """Submits until each of these shards has so many jobs.  Returns all that were submitted, by shard."""
        found: dict[int, list[str]] = {number: [] for number in range(len(self.servers))}
        while min(len(found[number]) for number in numbers) < count:
            job = submit()
            found[shard_of(job)].append(job)
            assert sum(map(len, found.values())) < 40 * count, "a shard gets no jobs"
        return found

    def deliveries(self, job: str) -> list[dict[str, Any]]:
        """Returns the deliveries of a job, as the API tells them; none while its server is away."""
        answer = self.client.get(f"/jobs/{job}/deliveries")
        return list(answer.json()["deliveries"]) if answer.status_code == 200 else []

    def delivered(self, job: str) -> bool:
        return [delivery["status"] for delivery in self.deliveries(job)] == ["delivered"]

    def _lives(self) -> bool:
        try:
            return self.client.get("/livez").status_code == 200
        except httpx.TransportError:
            return False
