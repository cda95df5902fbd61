"""The receivers of docs/webhooks.md accept what we sign, and nothing else."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from jobs.webhook_secrets import Secrets, _new_secret
from service.webhooks.message import signed_headers

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
PROGRAM, FUNCTION = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
BODY = b'{"type": "job.completed", "timestamp": "2026-11-27T04:45:09.591Z", "data": {"id": "0123"}}'


def signed(*secrets, at_s=None):
    return signed_headers("msg_1", at_s or time.time(), BODY, secrets)


@pytest.fixture
def receiver(tmp_path):
    """The program of the page; its URL, and the file of its output."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "receiver.py").write_text(PROGRAM)
    secret, output = _new_secret(), tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "receiver.py")], stdout=file, stderr=subprocess.DEVNULL,
            env={**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)},
        )  # fmt: skip
    try:
        until_s = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < until_s
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/", secret, output
    finally:
        process.kill()
        process.wait()


def test_the_program_takes_each_message_once_and_refuses_forged_ones(receiver):
    url, secret, output = receiver
    headers = signed(_new_secret(), secret)
    assert [httpx.post(url, content=BODY, headers=headers).status_code for _ in range(2)] == [204, 204]
    assert httpx.post(url, content=BODY + b" ", headers=headers).status_code == 401
    assert httpx.post(url, content=BODY, headers=signed(_new_secret())).status_code == 401
    assert httpx.post(url, content=BODY, headers=signed(secret, at_s=time.time() - 400)).status_code == 401
    assert output.read_text() == "job.completed 0123\n"


def test_the_function_without_the_package_agrees():
    names: dict = {}
    exec(FUNCTION, names)
    is_genuine, secret = names["is_genuine"], Secrets(current=_new_secret()).current
    assert is_genuine(secret, signed(secret), BODY) and is_genuine(secret, signed(_new_secret(), secret), BODY)
    assert not is_genuine(secret, signed(_new_secret()), BODY) and not is_genuine(secret, signed(secret), BODY + b" ")
    assert not is_genuine(secret, signed(secret, at_s=time.time() - 400), BODY)
