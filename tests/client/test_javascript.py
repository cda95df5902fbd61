"""The TypeScript example: its types come from our OpenAPI document, `tsc` checks it, Node runs it against a service."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "javascript"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed (Debian: apt-get install npm)"),
]


def run(*words, cwd, **env):
    return subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, timeout=240, env={**os.environ, **env}, check=False
    )  # fmt: skip


@pytest.fixture
def project(tmp_path):
    """A copy of the example with its packages installed."""
    for name in ("package.json", "tsconfig.json", "restore.mts"):
        shutil.copy(EXAMPLE / name, tmp_path)
    installed = run("npm", "install", "--no-audit", "--no-fund", cwd=tmp_path)
    if installed.returncode:
        pytest.skip(f"npm cannot install the packages: {installed.stderr[-300:]}")
    return tmp_path


def test_the_example_is_typed_by_our_openapi_document_and_restores(service, worker, picture, project):
    env = {"UNDEGRADE_SERVER": service.url}
    types = run("npm", "run", "types", cwd=project, **env)
    assert types.returncode == 0, types.stderr
    checked = run("npm", "run", "build", cwd=project)
    assert checked.returncode == 0, checked.stdout
    (project / "photo.png").write_bytes(picture())
    words = ("npm", "run", "--silent", "restore", "--", "photo.png", "restored.png", "--strength", "0.5")
    done = run(*words, cwd=project, **env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["noise 0.75", "blur 0.20", "clean 0.05", "repaired: noise"]
    with Image.open(project / "restored.png") as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)
    assert [job["params"]["strength"] for job in service.client.get("/jobs").json()["jobs"]] == [0.5]

    (project / "wrong.png").write_text("no photo")
    refused = run("node", "restore.mjs", "wrong.png", "no.png", cwd=project, **env)
    assert refused.returncode == 1 and "(not-an-image)" in refused.stderr

    source = project / "restore.mts"
    right = "options.strength = Number(words[at + 1])"
    for wrong in ('options.steps = "much"', "options.strenght = 1"):
        source.write_text(source.read_text().replace(right, wrong))
        assert "error TS" in run("npm", "run", "build", cwd=project).stdout, wrong
        source.write_text(source.read_text().replace(wrong, right))
