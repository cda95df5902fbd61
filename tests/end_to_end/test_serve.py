"""`undegrade serve` as a newcomer uses it: one command, the README's curl, Ctrl-C; and what a kill leaves behind."""

import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

DIFFUSED = "remove the blur"
"""What the shipped bundle has no specialist for: such a job takes as many steps as it asks for."""

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "raccoon-noisy.jpg"
READY_S = 120

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Served:
    """The command as a process."""

    def __init__(self, folder, *words):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"serve-{self.port}.log"
        env = {**os.environ, "XDG_STATE_HOME": str(folder), "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1"}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "serve", "--port", str(self.port), "--device", "cpu", *words],
                stdout=output, stderr=output, env=env, cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    def ready(self):
        until_s = time.monotonic() + READY_S
        while "Restore a photo with" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until_s, self.log.read_text()
            time.sleep(0.1)
        return self

    def family(self):
        """Every process that it has started, itself included."""
        whole = psutil.Process(self.process.pid)
        return [whole, *whole.children(recursive=True)]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(*words):
        started.append(Served(tmp_path, *words))
        return started[-1]

    yield start
    for entry in started:
        entry.end()


def test_the_printed_curl_restores_a_photo(serve, tmp_path):
    served = serve().ready()
    (line,) = re.findall(r"^  (curl .*)$", served.log.read_text(), re.MULTILINE)
    words = line.replace("photo.jpg", str(PHOTO)).replace("restored.jpg", str(tmp_path / "restored.jpg"))
    subprocess.run(words, shell=True, check=True, timeout=120)
    with Image.open(tmp_path / "restored.jpg") as restored, Image.open(PHOTO) as photo:
        assert restored.size == photo.size
        assert restored.tobytes() != photo.tobytes()


def test_ready_means_that_a_photo_can_be_restored(serve):
    served = serve()
    until_s = time.monotonic() + READY_S
    while True:
        assert time.monotonic() < until_s
        try:
            if httpx.get(served.url + "/readyz").status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    answer = httpx.post(
        served.url + "/restore?max_passes=1&steps=1", content=PHOTO.read_bytes(), timeout=90,
        headers={"Content-Type": "image/jpeg", "Accept": "image/*"},
    )  # fmt: skip
    assert answer.status_code == 200
    Image.open(io.BytesIO(answer.content)).load()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_everything_ends_with_it(serve, number):
    served = serve().ready()
    family = served.family()
    assert len(family) >= 4, "API, Valkey, worker, engine"
    served.process.send_signal(number)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    if number != signal.SIGKILL:
        assert served.process.wait() == 0
        assert "Traceback" not in served.log.read_text()


def test_jobs_survive_a_kill_of_everything(serve):
    served = serve().ready()
    endless = {"steps": 1000, "prompt": DIFFUSED}
    answers = [
        httpx.post(served.url + "/restore", files={"image": PHOTO.read_bytes()}, data=endless, timeout=30)
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [202] * 3
    family = served.family()
    served.process.kill()
    psutil.wait_procs(family, timeout=60)
    again = serve("--data", str(served.log.parent / "undegrade" / f"serve-{served.port}")).ready()
    for answer in answers:
        job = httpx.get(f"{again.url}/jobs/{answer.json()['id']}").json()
        assert job["status"] in ("queued", "running")


def test_a_second_one_on_the_same_port_or_folder_says_so(serve):
    served = serve().ready()
    env = {**os.environ, "XDG_STATE_HOME": str(served.log.parent)}
    folder = str(served.log.parent / "undegrade" / f"serve-{served.port}")
    for words, code, sentence in (
        (["--port", str(served.port)], 5, "the port is in use"),
        (["--port", "0", "--data", folder], 2, "another `undegrade serve` uses"),
    ):
        second = subprocess.run(
            [sys.executable, "-m", "cli", "serve", *words], capture_output=True, text=True, env=env, cwd=ROOT,
            timeout=60, check=False,
        )  # fmt: skip
        assert second.returncode == code
        assert sentence in second.stderr
        assert "Traceback" not in second.stderr


@pytest.mark.parametrize("seed", range(6))
def test_every_signal_ends_every_process_at_every_moment(serve, seed):
    moment = random.Random(seed)
    served = serve()
    time.sleep(moment.uniform(1, 10))  # while it imports, while Valkey starts, while the worker loads, when it is ready
    try:
        family = served.family()
    except psutil.NoSuchProcess:
        family = []
    numbers = moment.choice([[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM] * 2, [signal.SIGINT] * 2])
    for number in numbers:
        served.process.send_signal(number)
        time.sleep(moment.uniform(0, 0.5))
    assert served.process.wait(60) in (0, 130, 143, -signal.SIGINT, -signal.SIGTERM)
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert "Traceback" not in served.log.read_text()


def test_a_killed_valkey_is_restarted_and_the_order_of_the_end_stays(serve):
    served = serve().ready()
    (valkey,) = [child for child in served.family() if "valkey" in child.name()]
    valkey.kill()
    until_s = time.monotonic() + 60
    while "the embedded Valkey runs again" not in served.log.read_text():
        assert time.monotonic() < until_s, served.log.read_text()
        time.sleep(0.1)
    answer = httpx.post(served.url + "/restore", files={"image": PHOTO.read_bytes()}, data={"steps": 1}, timeout=60)
    assert answer.status_code == 202
    family = served.family()
    served.process.send_signal(signal.SIGTERM)
    assert psutil.wait_procs(family, timeout=60)[1] == []
    log = served.log.read_text()
    assert "worker.drained" in log[log.index("runs again") :]
    assert "no job is left on this worker" in log  # it could still reach Valkey


def test_a_bundle_that_is_not_there_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cli", "serve", "--bundle", "nothing"], capture_output=True, text=True, cwd=ROOT,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "nothing" in done.stderr


def test_an_open_port_without_a_key_is_refused(tmp_path):
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "serve", "--host", "0.0.0.0", "--port", str(free_port())], capture_output=True,
        text=True, env=env, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "without an API key" in done.stderr
    assert "Traceback" not in done.stderr


RECIPES = ROOT / "examples" / "recipes"
RUNNERS = {"restore.sh": ["bash"], "restore.py": [sys.executable], "restore.mjs": ["node"]}


def test_the_recipes_restore_a_photo(serve, tmp_path):
    served = serve().ready()
    for name, runner in RUNNERS.items():
        if shutil.which(runner[0]) is None:
            continue  # node is on few servers; the two others are everywhere
        out = tmp_path / f"{name}.jpg"
        words = [*runner, str(RECIPES / name), str(PHOTO), str(out), served.url]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        with Image.open(out) as restored, Image.open(PHOTO) as photo:
            assert restored.size == photo.size
    wrong = tmp_path / "wrong.jpg"
    wrong.write_text("not a photo")
    words = [sys.executable, str(RECIPES / "restore.py"), str(wrong), str(tmp_path / "no.jpg"), served.url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "415" in done.stderr, (tmp_path / "no.jpg").exists()) == (1, True, False)
