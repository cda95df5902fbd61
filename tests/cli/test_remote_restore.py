"""`undegrade restore --server`: the same files, rows and exit codes as without a server."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from service_fixtures import _valkey, eventually, serve, toy, valkey, worker

from cli.exit_codes import ExitCode
from cli.remote_restore import exit_code_of
from jobs.record import Failure
from undegrade_client import (
    AuthenticationError,
    Canceled,
    ConnectionFailed,
    DamagedImage,
    InvalidRequest,
    JobFailed,
    QuotaError,
    ServerUnavailable,
)

pytestmark = pytest.mark.slow  # a service with a worker for each test

FIXTURES = (_valkey, eventually, serve, toy, valkey, worker)


@pytest.fixture
def service(serve):
    """A running service that leaves stdout to the command."""
    return serve(access_log="off")


def is_red(path):
    with Image.open(path) as image:
        red, green, blue = image.convert("RGB").getpixel((0, 0))
    return red > 250 and green < 5 and blue < 5


@pytest.fixture
def remote(undegrade, service, worker):
    """Runs `undegrade restore WORDS --server URL`."""
    return lambda *words, **named: undegrade("restore", *words, "--server", service.url, **named)


def jobs(service):
    return service.client.get("/jobs").json()["jobs"]


def test_photos_get_the_same_names_as_without_a_server(remote, photo):
    for name in ("in/a.png", "in/b.jpg", "in/sub/c.webp", "in/.hidden.png"):
        photo(name)
    Path("in/d.png").write_bytes(Path("in/b.jpg").read_bytes())  # a JPEG in spite of its name
    done = remote("in", "-o", "out/")
    assert done.code == 0, done.err
    found = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    assert found == ["a.png", "b.jpg", "d.jpg", "sub/c.webp"]
    assert all(is_red(Path("out") / name) for name in found)
    assert "4 restored, 0 skipped, 0 failed" in done.err and "1 left out (hidden)" in done.err
    assert "in/a.png -> out/a.png: found noise 75%, blur 20%" in done.err
    again = remote("in", "-o", "out/")
    assert again.code == 0 and "0 restored, 4 skipped" in again.err


def test_options_reach_the_job_and_the_default_seed_is_that_of_a_local_run(remote, service, photo):
    words = ["--only", "noise,", "--strength", "0.5", "--steps", "3", "--max-passes", "2", "--color-fix"]
    assert remote(photo("a.png"), *words, "--format", "jpg", "--quality", "70").code == 0
    params = jobs(service)[0]["params"]
    assert params["only"] == ["noise"] and params["color_fix"] is True
    wanted = {"strength": 0.5, "steps": 3, "max_passes": 2, "seed": 0, "format": "jpeg", "quality": 70}
    assert {name: params[name] for name in wanted} == wanted
    assert is_red("a.restored.jpg")
    assert remote("a.png", "-o", "named.webp", "--seed", 7).code == 0
    params = jobs(service)[0]["params"]
    assert (params["seed"], params["format"]) == (7, "webp") and is_red("named.webp")


def test_stdin_and_stdout_a_row_of_json_and_a_comparison(remote, photo):
    data = photo("a.png").read_bytes()
    piped = remote("-", "-o", "-", stdin=data)
    assert piped.code == 0 and is_red(io.BytesIO(piped.out))
    done = remote("a.png", "--json", "--compare", "side", "--seed", 5)
    row = json.loads(done.out)
    assert (row["input"], row["output"], row["repaired"]) == ("a.png", "a.restored.png", ["noise"])
    assert (row["seed"], row["stop_reason"], row["degradations"]["noise"]) == (5, "clean", 0.75)
    assert [one["label"] for one in row["passes"]] == ["noise", "blur"] and row["job"]
    with Image.open("a.restored.compare.png") as sheet, Image.open("a.png") as before:
        assert sheet.size == (32 + 4 + 32, 24)
        assert sheet.crop((0, 0, 32, 24)).tobytes() == before.tobytes()
        assert sheet.getpixel((60, 12)) == (255, 0, 0)


@pytest.mark.parametrize("words", [["--strict"], ["--device", "cpu"], ["--only", "fog-bank"], ["--steps", "0"]])
def test_an_option_that_the_server_does_not_have_is_refused_in_its_words(remote, service, photo, words):
    done = remote(photo("a.png"), photo("b.png"), *words)
    assert done.code == ExitCode.USAGE and "(invalid-request)" in done.err
    assert words[0].strip("-") in done.err and not Path("a.restored.png").exists()
    assert not jobs(service)


def test_a_prompt_that_the_server_does_not_understand_is_refused_in_its_words(undegrade, service, toy, photo):
    assert toy(prompts="words").announced.wait(20)
    words = ("restore", photo("a.png"), "--server", service.url, "--prompt", "remove the watermark")
    refused = undegrade(*words)
    assert refused.code == ExitCode.USAGE and "(prompt-not-understood)" in refused.err
    assert not jobs(service) and undegrade(*words, "--best-effort").code == 0


@pytest.mark.parametrize(
    "words",
    [["--only", ""], ["--format", "gif"], ["-o", "-", "--json"], ["-o", "-", "--variants", "2"], ["--prompt", " "]],
)
def test_what_a_local_run_refuses_is_refused_here(remote, service, photo, words):
    assert remote(photo("a.png"), *words).code == ExitCode.USAGE
    assert not jobs(service)


def test_a_photo_that_fails_leaves_the_others(remote, photo):
    photo("a.png")
    Path("b.png").write_text("no photo")
    done = remote("a.png", "b.png", "missing.png", "--json")
    assert done.code == ExitCode.SOME_FAILED
    assert "b.png: " in done.err and "(not-an-image)" in done.err and "missing.png does not exist" in done.err
    assert sorted(json.loads(line)["input"] for line in done.text.splitlines()) == ["a.png", "b.png", "missing.png"]
    assert is_red("a.restored.png") and not Path("b.restored.png").exists()


def test_a_server_that_is_away_or_refuses_the_key_is_exit_code_5(undegrade, serve, photo, monkeypatch):
    monkeypatch.setattr("cli.remote_restore.FIRST_ANSWER_S", 0.5)
    away = undegrade("restore", photo("a.png"), "--server", "http://127.0.0.1:9")
    assert away.code == ExitCode.SERVER and "http://127.0.0.1:9" in away.err
    url = serve(auth="on").url
    Path("key").write_text("udg_wrong\n")
    for words in ([], ["--api-key-file", "key"]):
        refused = undegrade("restore", "a.png", "--server", url, *words)
        assert refused.code == ExitCode.SERVER and "(unauthorized)" in refused.err and "udg_wrong" not in refused.err
    assert undegrade("restore", "a.png", "--server", "photos").code == ExitCode.USAGE
    missing = undegrade("restore", "a.png", "--server", url, "--api-key-file", "none")
    assert missing.code == ExitCode.USAGE and "--api-key-file none" in missing.err


@pytest.mark.parametrize(("error", "code"), [
    (AuthenticationError("", code="unauthorized"), 5), (QuotaError("", code="rate-limited"), 5),
    (ServerUnavailable("", code="queue-full"), 5), (ConnectionFailed(""), 5), (InvalidRequest("", code="x"), 2),
    (DamagedImage("", code="bad-image"), 1), (JobFailed("", code="out-of-memory"), 4), (Canceled("", code="purged"), 1),
])  # fmt: skip
def test_an_error_has_the_exit_code_of_its_kind(error, code):
    assert exit_code_of(error) == code


def test_a_failed_job_is_reported_with_its_reason(undegrade, service, toy, photo):
    toy(failure=Failure(code="out-of-memory", detail="4 GB are not enough", hint="use a smaller photo"))
    done = undegrade("restore", photo("a.png"), "--server", service.url)
    assert done.code == ExitCode.DEVICE and "4 GB are not enough (out-of-memory). Use a smaller photo" in done.err


def test_ctrl_c_cancels_the_jobs(service, photo, eventually, workplace):
    names = [str(photo(f"{name}.png")) for name in "abcdef"]
    root = Path(__file__).parents[2]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}:{root / 'client'}"}
    command = [sys.executable, "-c", "from cli.main import main; main()", "restore", *names, "--server", service.url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=env, text=True)
    eventually(lambda: len(jobs(service)) == 4, 60)  # no worker is there
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "interrupted" in err and "Traceback" not in err
    assert {job["status"] for job in jobs(service)} == {"canceled"}
