"""The programs of examples/recipes against the real service: they restore, say what is wrong, and queue one job."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL

import httpx
import pytest
from PIL import Image

from jobs import api_keys
from jobs.webhook_secrets import _new_secret
from service.webhooks.message import signed_headers

RESTORING = ("restore.sh", "restore.py", "restore.mjs", "restore.php", "phone.mjs")
RETRYING = ("restore.php", "phone.mjs")
ROOT = Path(__file__).parents[2]
RED = (255, 0, 0)
"""The color of the toy worker's results."""


@pytest.fixture
def photo(tmp_path, picture):
    path = tmp_path / "photo.png"
    path.write_bytes(picture())
    return path


def color_of(path):
    with Image.open(path) as image:
        return image.getpixel((0, 0))


def jobs_of(service):
    return service.client.get("/jobs").json()["jobs"]


@pytest.mark.parametrize("name", RESTORING)
def test_a_program_restores_a_photo_with_an_api_key(serve, worker, run, photo, tmp_path, name):
    service, out = serve(auth="on"), tmp_path / "restored.png"

    async def new_key(queue):
        return (await api_keys.create(queue.redis, "recipes"))[1]

    code, shown, errors = run(name, photo, out, service.url, service.queued()(new_key))
    assert code == 0, errors
    assert color_of(out) == RED and str(out) in shown
    code, _, errors = run(name, photo, tmp_path / "none.png", service.url, "wrong")
    assert code != 0 and "unauthorized" in errors and not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("name", RESTORING)
def test_a_program_says_what_is_wrong_with_a_file(service, run, tmp_path, name):
    (tmp_path / "photo.png").write_text("not a photo")
    code, _, errors = run(name, tmp_path / "photo.png", tmp_path / "out.png", service.url)
    assert code == 1 and "not-an-image" in errors and "send a JPEG, PNG" in errors
    assert not (tmp_path / "out.png").exists()


def test_the_client_restores_a_folder_and_names_the_files_that_fail(service, worker, run, tmp_path, picture):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "c.png"):
        (photos / name).write_bytes(picture())
    (photos / "b.png").write_text("not a photo")
    (photos / "notes.txt").write_text("not meant")
    code, shown, errors = run("folder.py", photos, tmp_path / "restored", service.url)
    assert code == 1 and "b.png" in errors and "Traceback" not in errors
    assert shown.count("repaired noise") == 2
    assert {path.name: color_of(path) for path in (tmp_path / "restored").iterdir()} == {"a.png": RED, "c.png": RED}


@pytest.mark.slow  # a wait of a minute
def test_the_shell_waits_for_a_photo_that_takes_longer_than_a_minute(service, toy, start, photo, tmp_path, eventually):
    worker, out = toy(hold=True), tmp_path / "out.png"
    program = start("restore.sh", photo, out, service.url)
    eventually(lambda: jobs_of(service) and program.stderr.readline().endswith(": running\n"), 150)
    assert not out.exists()
    worker.go.set()
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    assert color_of(out) == RED and len(jobs_of(service)) == 1


@pytest.mark.slow  # their pauses between tries
@pytest.mark.parametrize("name", RETRYING)
@pytest.mark.parametrize("fault", ["reset", "lost", "502"])
def test_a_connection_that_breaks_makes_no_second_job(service, worker, faulty, run, photo, tmp_path, name, fault):
    first = ["ok"] if name == "phone.mjs" else []  # GET /limits
    faulty.hurt([*first, fault, "ok", fault])
    code, _, errors = run(name, photo, tmp_path / "out.png", faulty.url)
    assert code == 0, errors
    assert color_of(tmp_path / "out.png") == RED and len(jobs_of(service)) == 1
    assert sum("POST /restore" in line for line in faulty.seen) == 2


@pytest.mark.slow
def test_a_phone_fetches_a_picture_again_that_arrived_in_half(service, worker, faulty, run, photo, tmp_path):
    faulty.hurt(["ok", "ok", "ok", "cut"])
    code, _, errors = run("phone.mjs", photo, tmp_path / "out.png", faulty.url)
    assert code == 0, errors
    assert color_of(tmp_path / "out.png") == RED
    assert [line.split()[1].endswith("/result") for line in faulty.seen[-2:]] == [True, True]


def test_a_phone_goes_on_where_it_was_stopped(service, toy, start, run, photo, tmp_path, eventually):
    worker, notes = toy(hold=True), Path(f"{photo}.state.json")
    app = start("phone.mjs", photo, tmp_path / "out.png", service.url)
    job = eventually(lambda: notes.exists() and json.loads(notes.read_text()).get("job"))
    app.kill()
    worker.go.set()
    code, _, errors = run("phone.mjs", photo, tmp_path / "out.png", service.url)
    assert code == 0, errors
    assert [one["id"] for one in jobs_of(service)] == [job] and color_of(tmp_path / "out.png") == RED
    assert not notes.exists()


@pytest.fixture
def receive(start, eventually):
    """Starts the receiver of the page with a secret and a port; returns its process."""

    def begin(secret, port):
        process = start("webhook_receiver.mjs", WEBHOOK_SECRET=secret, PORT=str(port))

        def listens():
            assert process.poll() is None, process.communicate()[1]
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(listens)
        return process

    return begin


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_receiver_takes_each_message_once_and_refuses_forged_ones(receive, port):
    secret, url = _new_secret(), f"http://127.0.0.1:{port}/hook"
    process = receive(secret, port)
    body = b'{"type": "job.completed", "timestamp": "2026-11-27T04:45:09.591Z", "data": {"id": "0123"}}'

    def sent(*secrets, at_s=None, content=body):
        headers = signed_headers("msg_1", at_s or time.time(), body, secrets)
        return httpx.post(url, content=content, headers=headers).status_code

    assert [sent(_new_secret(), secret), sent(secret)] == [204, 204], "during a rotation there are two signatures"
    refused = [
        sent(_new_secret()), sent(secret, content=body + b" "), sent(secret, at_s=time.time() - 400),
        sent(secret, at_s=time.time() + 400), httpx.post(url, content=body).status_code,
        httpx.post(url, content=body, headers={"webhook-signature": "v1,", "webhook-timestamp": "x"}).status_code,
    ]  # fmt: skip
    assert refused == [401] * len(refused)
    assert httpx.post(url, content=bytes(200_000)).status_code == 400
    process.kill()
    assert process.communicate()[0] == "job.completed 0123\n"


@pytest.mark.slow
def test_the_receiver_gets_the_webhook_of_a_job_that_undegrade_webhooks_sends(
    serve, worker, receive, port, valkey, eventually, photo
):  # fmt: skip
    origin = f"http://127.0.0.1:{port}"
    settings = {"UNDEGRADE_REDIS_URL": valkey.url, "UNDEGRADE_WEBHOOK_HOSTS": origin}
    env = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-m", "cli"]
    words = [*command, "keys", "webhook-secret", "none"]
    printed = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    process = receive(re.search(r"whsec_\S+", printed)[0], port)
    service = serve(webhook_hosts=(origin,))
    sender = subprocess.Popen([*command, "webhooks"], env=env, cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL)
    try:
        fields = {"webhook_url": f"{origin}/hook"}
        job = service.client.post("/restore", files={"image": photo.read_bytes()}, data=fields).json()["id"]
        deliveries = f"/jobs/{job}/deliveries"
        states = lambda: [one["status"] for one in service.client.get(deliveries).json()["deliveries"]]  # noqa: E731
        eventually(lambda: states() == ["delivered"], 60)
    finally:
        sender.kill()
        sender.wait()
    process.kill()
    assert process.communicate()[0] == f"job.completed {job}\n"


def test_without_a_secret_the_receiver_does_not_start(run):
    code, _, errors = run("webhook_receiver.mjs", WEBHOOK_SECRET="")
    assert code == 1 and "undegrade keys webhook-secret" in errors
