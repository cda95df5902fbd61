"""The real service with the toy worker of tests/service, and the programs of examples/recipes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_proxy import start_proxy
from service_fixtures import _valkey, eventually, mortal_valkey, picture, serve, service, toy, valkey, worker

ROOT = Path(__file__).parents[2]
FIXTURES = (_valkey, eventually, mortal_valkey, picture, serve, service, toy, valkey, worker)
RECIPES = ROOT / "examples" / "recipes"
RUNNERS = {".sh": "bash", ".py": sys.executable, ".mjs": "node", ".php": "php"}


def command(name):
    """The words that start a recipe; skips the test where its program is missing."""
    runner = RUNNERS[Path(name).suffix]
    if shutil.which(runner) is None:
        pytest.skip(f"{runner} is not installed: make recipes-test installs it")
    if runner == "php" and "curl" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout.split():
        pytest.skip("php has no curl extension: make recipes-test installs it")
    return [runner, str(RECIPES / name)]


@pytest.fixture
def start():
    """Starts a recipe in the background; it is killed with the test."""
    processes = []

    def begin(name, *words, **env):
        process = subprocess.Popen(
            [*command(name), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "client"), **env},
        )  # fmt: skip
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    """Runs a recipe to its end; returns its exit code, its output and its errors."""

    def finish(name, *words, **env):
        process = start(name, *words, **env)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return finish


@pytest.fixture
def faulty(service):
    """A proxy in front of the running service."""
    proxy, server = start_proxy(service.url)
    yield proxy
    proxy.released.set()
    server.shutdown()
    server.server_close()
