"""AutoDIR at its full size: conversion, then a photo restored by the command and by the service.

The weights are random and the images meaningless.  The tests hold the published sizes, the memory, finite values, and
that command and service restore the same image.
"""

import io
import json
import math
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

PUBLISHED = {"clip": 427_616_513, "air": 859_532_484 + 83_653_863, "scm": 115_984_643}
"""Parameters (../shared/facts/autodir.md); the bundle stores the denoiser and the autoencoder together."""
PASS = {"steps": "2", "prompt": "haze", "seed": "7"}
LONGEST_S = 1800


def test_the_conversion_keeps_every_weight_within_its_memory_limit(converted):
    bundle, done, checkpoint_bytes = converted
    assert done.code == 0, done.err
    counts = {}
    for network, names in json.loads((bundle / "bundle.json").read_text())["weights"].items():
        counts[network] = 0
        for name in names:
            with safe_open(bundle / name, "pt") as file:
                counts[network] += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    assert counts == PUBLISHED
    assert done.peak_bytes < 1.5 * checkpoint_bytes


@pytest.fixture(scope="module")
def by_command(converted, photo, folder, run):
    """The image that `undegrade restore` writes, and its report."""
    said = [word for name, value in PASS.items() for word in (f"--{name}", value)]
    out = folder / "restored.png"
    words = ["restore", str(photo), "--bundle", str(converted[0]), "-o", str(out), "--device", "cpu", "--json", *said]
    done = run(["-m", "cli", *words], folder)
    assert done.code == 0, done.err
    with Image.open(out) as picture:
        return np.asarray(picture), json.loads(done.out)


def test_the_command_restores_a_photo_in_two_steps(by_command, photo):
    picture, report = by_command
    with Image.open(photo) as before:
        assert picture.shape == (before.height, before.width, 3)
    assert len(np.unique(picture)) > 16  # NaN would become one flat color
    assert (report["repaired"], report["steps"]) == (["haze"], 2)


@pytest.fixture
def served(converted, folder, environment):
    """The URL of an `undegrade serve` process with the bundle."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "serve",
        "--port",
        str(port),
        "--device",
        "cpu",
        "--bundle",
        str(converted[0]),
        "--data",
        str(folder / "data"),
    ]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "cli", *words], stdout=log, stderr=log, env=environment())
    try:
        until_s = time.monotonic() + LONGEST_S
        while "Restore a photo with" not in (said := (folder / "serve.log").read_text()):
            assert process.poll() is None and time.monotonic() < until_s, said
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


def test_the_service_restores_the_same_image(served, by_command, photo):
    answer = httpx.post(f"{served}/restore", files={"image": photo.read_bytes()}, data=PASS, timeout=60)
    assert answer.status_code == 202, answer.text
    job, until_s = answer.json(), time.monotonic() + LONGEST_S
    while job["status"] not in ("succeeded", "failed", "canceled", "expired"):
        assert time.monotonic() < until_s, job
        job = httpx.get(f"{served}/jobs/{job['id']}", params={"wait": 30}, timeout=90).json()
    assert job["status"] == "succeeded", job
    result = httpx.get(f"{served}/jobs/{job['id']}/result", timeout=60)
    with Image.open(io.BytesIO(result.content)) as picture:
        far = np.abs(np.asarray(picture).astype(int) - by_command[0])
    assert far.max() <= 1  # rounding may differ by one level
