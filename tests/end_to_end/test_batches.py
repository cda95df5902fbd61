"""A batch through a real API process with real workers, one of which is killed in the middle."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from jobs.cost_model import recent_costs

ROOT = Path(__file__).parents[2]
BUNDLE, BAD = "autodir-small", (4, 9)
pytestmark = pytest.mark.slow


@contextmanager
def api(url, folder):
    """`undegrade api` as a process, with a client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cli", "api", "--redis-url", url, "--port", str(port)]
    with (folder / "api.log").open("wb") as log:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=env)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=200) as client:
                until(lambda: answers(client), 60)
                yield client
        finally:
            process.terminate()
            process.wait(30)


def answers(client):
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def until(check, deadline_s=120):
    until_s = time.monotonic() + deadline_s
    while not (value := check()):
        assert time.monotonic() < until_s, "the check stayed false"
        time.sleep(0.1)
    return value


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


async def recorded_costs(client):
    return await recent_costs(client.redis, BUNDLE)


def test_twelve_images_of_which_two_are_bad_with_a_killed_worker(place, crop, tmp_path):
    images = [b"no image" if n in BAD else crop(n) for n in range(1, 13)]
    form = [("image", (f"photo {n}.png", data)) for n, data in enumerate(images, 1)]
    doomed = place.worker()
    with api(place.redis.url, tmp_path) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        batch = client.post("/batches", files=form, data={"steps": "2", "max_passes": "1", "seed": "5"}).json()
        assert (batch["counts"]["total"], batch["counts"]["refused"]) == (12, 2)
        until(lambda: client.get(f"/batches/{batch['id']}").json()["counts"]["succeeded"])
        doomed.kill()
        place.worker()
        archive = client.get(batch["results_url"])
        done = client.get(f"/batches/{batch['id']}").json()
        asked = [{"width": width, "height": 96} for width in (64, 96, 128)]
        estimate = client.post("/estimate", json={"images": asked, "steps": 2, "max_passes": 1}).json()
    (tmp_path / "results.zip").write_bytes(archive.content)
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-t", str(tmp_path / "results.zip")], check=True, capture_output=True)
    zipped = zipfile.ZipFile(io.BytesIO(archive.content))
    assert zipped.testzip() is None
    assert set(zipped.namelist()) == {"errors.json", *(f"photo {n}.png" for n in range(1, 13) if n not in BAD)}
    for number in (1, 2, 12):
        sent, restored = images[number - 1], zipped.read(f"photo {number}.png")
        assert Image.open(io.BytesIO(restored)).size == Image.open(io.BytesIO(sent)).size
        assert not np.array_equal(pixels(restored), pixels(sent))
    assert [error["index"] for error in json.loads(zipped.read("errors.json"))] == list(BAD)
    assert done["status"] == "completed" and done["counts"]["succeeded"] == 10
    known = place.run(recorded_costs)
    for image in estimate["images"]:  # the order of magnitude of the jobs of this size
        real = [cost.work_s for cost in known if abs(cost.megapixels - image["megapixels"]) < 1e-6]
        assert real and min(real) / 5 <= image["device_seconds"] <= max(real) * 5
