"""kill -9 of the real API process between storing an image and answering; the client sends the request again.

A relay stands between the API and Redis.  It holds the command that submits the job, or its reply, so that the process
dies at exactly that moment.
"""

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image

from cli.embedded_redis import EmbeddedRedis

ROOT = Path(__file__).parents[2]
HEADERS = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
SUBMISSION = b'"max_queued"'
"""Stands in the arguments of the script that submits a job, and of no other."""
pytestmark = pytest.mark.slow


class Relay:
    """Relays a Unix socket to Valkey.  Once armed, it holds the "command" or the "reply" of the first submission."""

    def __init__(self, path: Path, target: str, hold: str) -> None:
        self.path, self.target, self.hold = path, target, hold
        self.armed, self.held = threading.Event(), threading.Event()
        self._loop = asyncio.new_event_loop()
        self._listening, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *error) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def _run(self) -> None:
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        server = await asyncio.start_unix_server(self._serve, self.path)
        self._listening.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # the closed transports leave the loop

    async def _serve(self, reader, writer) -> None:
        above, below = await asyncio.open_unix_connection(self.target)
        mute = asyncio.Event()
        try:
            await asyncio.gather(self._up(reader, below, mute), self._down(above, writer, mute))
        finally:
            below.close()
            writer.close()

    async def _up(self, reader, below, mute) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if SUBMISSION in data and self.armed.is_set() and not self.held.is_set():
                    if self.hold == "reply":
                        mute.set()
                        below.write(data)
                        await below.drain()
                        await asyncio.sleep(0.5)  # for Valkey to run the script
                    self.held.set()
                    await asyncio.sleep(3600)
                below.write(data)
                await below.drain()
        below.close()

    async def _down(self, above, writer, mute) -> None:
        with suppress(ConnectionError):
            while data := await above.read(1 << 20):
                if not mute.is_set():
                    writer.write(data)
                    await writer.drain()


@contextmanager
def api(redis_url: str, store: Path, log: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["api", "--redis-url", redis_url, "--store-url", f"file://{store}", "--port", str(port)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "UNDEGRADE_AUTH": "off"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *words], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        try:
            until_s = time.monotonic() + 90
            while True:
                assert process.poll() is None and time.monotonic() < until_s, log.read_text()
                try:
                    client.get("/livez")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield process, client
        finally:
            process.kill()
            process.wait(30)


@pytest.mark.parametrize(("hold", "replayed"), [("command", False), ("reply", True)])
@pytest.mark.parametrize("width", [64, 1200], ids=["small", "large"])
def test_a_request_that_is_sent_again_after_a_crash_is_one_job(tmp_path, hold, replayed, width):
    photo, store, log = io.BytesIO(), tmp_path / "store", tmp_path / "api.log"
    Image.effect_noise((width, 1200), 90).save(photo, "png")

    def send(client, headers=HEADERS):
        return client.post("/restore", files={"image": photo.getvalue()}, data={"steps": "3"}, headers=headers)

    with EmbeddedRedis(tmp_path / "redis") as redis:
        target = redis.url.removeprefix("unix://").partition("?")[0]
        with (
            Relay(tmp_path / "relay", target, hold) as relay,
            api(f"unix://{relay.path}", store, log) as (process, client),
        ):
            other = send(client, {"Idempotency-Key": "another"}).json()["id"]  # from now on, Valkey has the script
            client.delete(f"/jobs/{other}")
            assert not list(store.rglob("input"))
            relay.armed.set()
            lost = []

            def first() -> None:
                try:
                    lost.append(send(client))
                except httpx.TransportError as error:
                    lost.append(error)

            sending = threading.Thread(target=first)
            sending.start()
            assert relay.held.wait(60), log.read_text()
            assert list(store.rglob("input")), "the image is stored before the job"
            process.send_signal(signal.SIGKILL)
            sending.join(30)
            assert isinstance(lost[0], httpx.TransportError)
        with api(redis.url, store, log) as (_, client):
            again = [send(client) for _ in range(2)]
            jobs = [job for job in client.get("/jobs").json()["jobs"] if job["id"] != other]
    assert [answer.status_code for answer in again] == [202, 202]
    assert ("idempotency-replayed" in again[0].headers) is replayed and "idempotency-replayed" in again[1].headers
    assert len(jobs) == 1 and {answer.json()["id"] for answer in again} == {jobs[0]["id"]}
    assert jobs[0]["status"] == "queued"
