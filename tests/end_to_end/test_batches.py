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
from undegrade_client import Client

ROOT = Path(__file__).parents[2]
BUNDLE, BAD = "autodir-small", (4, 9)
VARIANTS = {"prompt": "sharpen the blur", "steps": "2", "seed": "5", "variants": "2"}
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


def test_variants_of_a_server_are_those_of_this_machine_and_all_are_in_the_zip_file(place, crop, tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(crop(1))
    words = [word for name, value in VARIANTS.items() for word in (f"--{name}", value)]
    place.worker()
    with api(place.redis.url, tmp_path) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        restore(photo, "there", *words, "--server", str(client.base_url))
        form = {"image": ("photo.png", photo.read_bytes())}
        batch = client.post("/batches", files=form, data=VARIANTS).json()
        zipped = zipfile.ZipFile(io.BytesIO(client.get(batch["results_url"]).content))
        events = []
        with Client(str(client.base_url)) as mine:
            job = mine.submit(photo, prompt=VARIANTS["prompt"], steps=60, seed=5)  # long enough to be told
            result = job.wait(on_event=events.append)
    restore(photo, "here", *words)
    one, two = (pixels((tmp_path / "there" / f"photo-{number}.png").read_bytes()) for number in (1, 2))
    assert not np.array_equal(one, two), "they have other seeds"
    assert zipped.namelist() == ["photo-1.png", "photo-2.png"]
    for number, there in enumerate((one, two), 1):
        assert np.array_equal(pixels(zipped.read(f"photo-{number}.png")), there)
        here = pixels((tmp_path / "here" / f"photo-{number}.png").read_bytes())
        assert np.abs(here.astype(int) - there.astype(int)).max() <= 1, "the batch of the engine may round otherwise"
    fractions = [event.fraction for event in events if event.type == "step.progress"]
    assert fractions and fractions == sorted(fractions) and events[-1].type == "completed"
    assert pixels(result.data).shape == pixels(photo.read_bytes()).shape


def restore(photo, folder, *words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cli", "restore", photo, "-o", f"{photo.with_name(folder)}/", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
