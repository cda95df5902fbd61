"""A server that is killed with SIGKILL while the client waits, and started again on the same port and Redis."""

import io
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from undegrade_client import Client

ROOT = Path(__file__).parents[2]


class Api:
    """`undegrade api` as a process."""

    def __init__(self, redis_url: str, log: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.url, self.redis_url, self.log = f"http://127.0.0.1:{self.port}", redis_url, log

    def start(self) -> None:
        names = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", "UNDEGRADE_BUNDLE": "toy", "OMP_NUM_THREADS": "1"}
        words = ["api", "--port", str(self.port), "--redis-url", self.redis_url, "--store-url", self.redis_url]
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "cli", *words]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **names}, cwd=ROOT)
        until_s = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < until_s, self.log.read_text()
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def api(valkey, tmp_path):
    """A running API process."""
    server = Api(valkey.url, tmp_path / "api.log")
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["while queued", "while running", "twice"])
def test_a_result_arrives_although_the_server_is_killed_in_the_wait(api, toy, picture, eventually, killed):
    results = []
    with Client(api.url, first_retry_s=0.05, max_retry_s=0.5) as client:
        reader = threading.Thread(target=lambda: results.append(client.restore(picture(), seed=4, timeout_s=120)))
        worker = toy(hold=True) if killed == "while running" else None
        reader.start()
        wanted = "running" if worker else "queued"
        jobs = lambda: httpx.get(f"{api.url}/jobs").json()["jobs"]  # noqa: E731
        eventually(lambda: [job["status"] for job in jobs()] == [wanted])
        for _ in range(2 if killed == "twice" else 1):
            api.kill()
            api.start()
            time.sleep(0.3)
        if worker:
            worker.go.set()
        else:
            toy()
        reader.join(60)
    assert [job["status"] for job in jobs()] == ["succeeded"]
    with Image.open(io.BytesIO(results[0].data)) as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.slow
def test_events_continue_after_a_restart_without_a_gap_or_a_copy(api, toy, picture):
    worker = toy(hold=True)
    with Client(api.url, first_retry_s=0.05, max_retry_s=0.5) as client:
        events = client.submit(picture()).events(timeout_s=120)
        seen = [next(events) for _ in range(3)]
        api.kill()
        api.start()
        worker.go.set()
        seen += list(events)
        whole = list(client.job(seen[-1].data["job_url"].rpartition("/")[2]).events())
    assert seen == whole and seen[-1].type == "completed"
