"""An upgrade in two halves: an older API with today's worker, and today's API with an older worker, on one queue.

The older version is a commit of this repository with its own bundles, as a package brings them.
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
OLD = "a4dd561d450c0dbfdf927fcea209d6a567a721e2"
"""The last commit before workers could be drained, lanes paused and jobs traced."""
TOLERANT = "5c9505890717a1ff8b9852666ac23ef63384c5b0"
"""From here on, an API reads what later workers announce, and a worker the specs of later APIs; before, they refused
fields that they did not know (docs/admin.md)."""
pytestmark = pytest.mark.slow


@pytest.fixture
def old_tree(request, tmp_path_factory):
    """Returns a checkout of an older version."""
    folder = tmp_path_factory.mktemp("old")
    archive = ["git", "archive", getattr(request, "param", OLD)]
    packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the older commit is not in this clone: {packed.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


@contextmanager
def running(tree, log, *words):
    """Run `undegrade` of a tree."""
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "UNDEGRADE_AUTH": "off"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", *words], cwd=tree, env=env, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_answers(client, process, log):
    until_s = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        try:
            client.get("/livez")
            return
        except httpx.TransportError:
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.1)


@pytest.mark.parametrize(("older", "old_tree"), [("api", TOLERANT), ("worker", TOLERANT)], indirect=["old_tree"])
def test_old_and_new_halves_work_on_one_queue(place, crop, old_tree, tmp_path, older):
    api_tree, worker_tree = (old_tree, ROOT) if older == "api" else (ROOT, old_tree)
    port, url = free_port(), place.redis.url
    api_log, worker_log = tmp_path / "api.log", tmp_path / "worker.log"
    with (
        running(api_tree, api_log, "api", "--redis-url", url, "--port", str(port)) as api,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        until_answers(client, api, api_log)
        photo = {"image": ("photo.png", crop(1), "image/png")}
        with running(worker_tree, worker_log, "worker", "--redis-url", url, "--device", "cpu"):
            until_s = time.monotonic() + 120
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < until_s, worker_log.read_text()
                time.sleep(0.2)
            picture = client.post("/restore", files=photo, headers={"Accept": "image/*"})
            assert picture.status_code == 200, picture.text
            assert picture.headers["content-type"] == "image/png"
            found = client.post("/detect", files=photo, headers={"Prefer": "wait=60"}).json()
            assert found["degradations"], found
            asked = {"prompt": "remove the noise", "steps": "2", "seed": "4", "lane": "bulk", "deadline_s": "600"}
            answer = client.post("/restore", files=photo, data=asked, headers={"Prefer": "wait=60"}).json()
            assert answer["status"] == "succeeded", answer
            assert answer["params"]["seed"] == 4
            listed = client.get("/jobs").json()["jobs"]
            assert {job["status"] for job in listed} == {"succeeded"} and len(listed) == 3
            assert client.delete(f"/jobs/{answer['id']}").status_code in (200, 202, 204)


def test_jobs_that_the_old_version_left_in_the_queue_are_done_by_the_new_one(place, crop, old_tree, tmp_path):
    port, url = free_port(), place.redis.url
    api_log, worker_log = tmp_path / "api.log", tmp_path / "worker.log"
    words = ("api", "--redis-url", url, "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        worker_words = ("worker", "--redis-url", url, "--device", "cpu")
        with running(old_tree, api_log, *words) as api:
            until_answers(client, api, api_log)
            with running(old_tree, worker_log, *worker_words) as worker:
                until_s = time.monotonic() + 120
                while client.get("/readyz").status_code != 200:
                    assert time.monotonic() < until_s, worker_log.read_text()
                    time.sleep(0.2)
                worker.kill()  # its bundle stays known for some seconds, as in a crash
            jobs = [
                client.post("/restore", files={"image": ("a.png", crop(i), "image/png")}, data={"steps": "2"})
                for i in range(3)
            ]
            assert [job.status_code for job in jobs] == [202] * 3, [job.text for job in jobs]
        with running(ROOT, api_log, *words) as api, running(ROOT, worker_log, *worker_words):
            until_answers(client, api, api_log)
            for job in jobs:
                ended = client.get(f"/jobs/{job.json()['id']}", params={"wait": "60"}).json()
                assert ended["status"] == "succeeded", (ended, worker_log.read_text())
