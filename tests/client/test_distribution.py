"""`pip install ./client` on a bare machine, and the same package in the wheel of the main distribution."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = {path.name for path in (ROOT / "client" / "undegrade_client").glob("*.py")} | {"py.typed"}


def pip(*words, python=sys.executable):
    done = subprocess.run([python, "-m", "pip", "-q", *words], capture_output=True, text=True, timeout=280, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_bare_machine_gets_the_client_and_nothing_heavy(tmp_path):
    venv.create(tmp_path / "bare", with_pip=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    pip("install", str(ROOT / "client"), python=python)
    listed = subprocess.run([python, "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True)
    names = {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}
    assert "undegrade-client" in names and not names & {"torch", "numpy", "pillow", "pydantic", "undegrade"}
    script = "import undegrade_client as u; print(u.Client('http://127.0.0.1:9', timeout_s=1).map([], jobs=2))"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_of_the_main_distribution_contains_the_client(tmp_path):
    pip("wheel", "--no-deps", "-w", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("undegrade_client/")}
    assert {Path(name).name for name in names} == PACKAGE


def test_the_images_of_containers_get_the_client():
    assert "!client/undegrade_client" in (ROOT / ".dockerignore").read_text().splitlines()
