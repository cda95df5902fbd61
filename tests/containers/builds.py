"""Builds our images as `make image` does, on a local base."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import PYTHON_IMAGE, ROOT, run

API_IMAGE, WORKER_IMAGE = "localhost/undegrade-api:local", "localhost/undegrade-worker:local"
FLAGS = "--isolation chroot --network host"
CHANGED = ("service/app.py", "worker/supervisor.py")


def build(root: Path = ROOT, tag: str = "local") -> tuple[float, str]:
    """Build both targets from a working tree.  Returns the seconds, and what the build printed."""
    command = [
        sys.executable, str(root / "deploy/image/build.py"), "--engine", "buildah", "--base-image", PYTHON_IMAGE,
        "--tag", tag,
    ]  # fmt: skip
    start_s = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "BUILD_FLAGS": FLAGS}, check=False)
        log.seek(0)
        text = log.read()
    if done.returncode:
        sys.exit(f"error: the build failed\n{text[-5000:]}")
    return time.monotonic() - start_s, text


def rebuild_after_change() -> list[str]:
    """Change a line of the code in a copy of the tree and build it.  Returns the seconds for the API and the worker.

    Raises:
        SystemExit: packages were installed again.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "tree")
        listed = run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
        for name in listed:
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        for name in CHANGED:
            with (copy / name).open("a") as file:
                file.write(f"# {time.time()}\n")
        _, text = build(copy, "changed")
    if "Successfully installed" in text.replace("Successfully installed undegrade", ""):
        sys.exit("error: a change of the code installed packages again; see the order of layers in Dockerfile")
    return re.findall(r"is built, in (\d+) s", text)


def megabytes(image: str) -> float:
    """Returns the size of an image, in millions of bytes."""
    return int(run("podman", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6
