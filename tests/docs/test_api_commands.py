"""Every command of docs/api.md runs as it is written, in the order of the page, against the real service."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from jobs import api_keys
from jobs.record import Failure

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line]
OTHERWISE = {
    "image_url=https": 403,  # off by default
    "$API/uploads": 409,  # the store is not S3
    "upload=$UPLOAD": 404,
}
"""Statuses of what this service is not set up for; tests with S3 and with allowed hosts are elsewhere."""
LATER = ('"$URL"', "/retry")
"""Words of lines that need S3, or a test of their own."""


class Shell:
    """Runs lines as a reader of the page does, and tells the last status of each."""

    def __init__(self, folder, url):
        self.folder = folder
        self.env = {**os.environ, "API": url, "UPLOAD": "0" * 32, "KEY": "k"}

    def run(self, line):
        headers = self.folder / "headers.txt"
        headers.unlink(missing_ok=True)
        script = f'curl() {{ command curl -sS -D headers.txt "$@"; }}\n{line}\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        statuses = re.findall(r"^HTTP/\S+ (\d+)", headers.read_text() if headers.exists() else "", re.MULTILINE)
        return int(statuses[-1]) if statuses else 0, done

    def new_job(self, fields=""):
        answer = self.run(f"curl -F image=@photo.jpg {fields} $API/restore")[1].stdout
        job = re.search(r'"id":"(\w+)"', answer)[1]
        self.run(f'curl "$API/jobs/{job}?wait=30"')
        return job


@pytest.fixture
def shell(service, tmp_path, picture):
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(picture("jpeg"))
    return Shell(tmp_path, service.url)


def expected(line):
    stated = re.search(r"# (2\d\d)\b", line)
    other = next((status for word, status in OTHERWISE.items() if word in line), None)
    return [other] if other is not None else [int(stated[1])] if stated else [200, 202, 204]


def needs_key(line):
    return ("$KEY" in line and "Idempotency" not in line) or "$ADMIN_KEY" in line


def run_line(shell, line):
    """Runs a line of the page, and keeps what later lines name; returns what is wrong with its answer."""
    line = line.replace(" -F skip=haze", "").replace("noise,blur", "noise").replace(" -F only=blur", "")
    status, done = shell.run(line)  # the toy worker knows only noise
    if "/batches " in line:
        shell.env["BATCH"] = re.search(r'"id":"(\w+)"', done.stdout)[1]
    if '-X DELETE "$API/jobs' in line:
        shell.env["ID"] = shell.new_job()
    if "restored.jpg" in line:  # a complete file cannot be continued
        (shell.folder / "restored.jpg").unlink(missing_ok=True)
    if line.startswith("curl") and status not in expected(line):
        return [f"{line}: {status} {done.stdout[:300]} {done.stderr}"]
    return []


def test_every_command_of_the_page_succeeds(service, worker, shell):
    shell.env["ID"] = shell.new_job()
    wrong = []
    for line in COMMANDS:
        if line.startswith("KEY="):
            shell.env["KEY"] = shell.run(f"{line}\necho $KEY")[1].stdout.strip()
        elif line.startswith(("curl", "(printf")) and not needs_key(line) and not any(word in line for word in LATER):
            wrong += run_line(shell, line)

    async def new_keys(queue):
        keys = {"KEY": ("restore", "read"), "ADMIN_KEY": ("admin",)}
        return {name: (await api_keys.create(queue.redis, name, *scopes))[1] for name, scopes in keys.items()}

    shell.env |= service.queued()(new_keys)  # from now on, every request needs one
    with_key = [line for line in COMMANDS if needs_key(line)]
    for line in with_key:
        wrong += run_line(shell, line)
    assert len(with_key) == 4
    assert not wrong, "\n".join(wrong)


def test_a_failed_job_is_tried_again(service, toy, shell):
    toy(failure=Failure(code="engine-error", detail="it broke"))
    shell.env["ID"] = shell.new_job()
    line = next(line for line in COMMANDS if "/retry" in line)
    status, done = shell.run(line)
    assert status == 202, done.stdout


def test_the_same_key_is_the_same_job(service, worker, shell):
    lines = [line for line in COMMANDS if "$KEY" in line and "Idempotency" in line]
    ids = [re.search(r'"id":"(\w+)"', shell.run(line)[1].stdout)[1] for line in lines]
    assert len(ids) == 2 and ids[0] == ids[1]
    assert "idempotency-replayed: true" in (shell.folder / "headers.txt").read_text().lower()
