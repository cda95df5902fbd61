"""Builds the images `undegrade-api` and `undegrade-worker` with docker, podman or buildah: `make image`.

Needs Python's standard library only.  This machine's pip configuration is used during the build (pip_settings.py).
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pip_settings import as_file, local_paths, machine_settings

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("api", "worker")
ENGINES = ("docker", "podman", "buildah")


def find_engine() -> str:
    """Returns the first program that can build here: docker with a running engine, podman, or buildah."""
    for name in ENGINES:
        if shutil.which(name) is None:
            continue
        if name != "docker" or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
            return name
    sys.exit("error: found no docker with a running engine, podman or buildah. On Debian: apt install podman")


def revision() -> str:
    """Returns the commit of the working tree, `-dirty` where files differ from it."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--match", "-"]
    described = subprocess.run(words, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"


def build_command(engine: str, target: str, *, image: str, arguments: dict[str, str], secret: Path) -> list[str]:
    """Returns the command that builds one target; `arguments` are those of the Dockerfile."""
    own = [engine, "build"] if engine == "docker" else [engine, "build", "--format", "docker", "--layers"]
    settings = machine_settings() if engine != "docker" else {}
    mounts = [word for path in local_paths(settings) for word in ("--volume", f"{path}:{path}:ro")]
    values = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    flags = shlex.split(os.environ.get("BUILD_FLAGS", ""))
    return [
        *own, *flags, *mounts, *values, "--secret", f"id=pipconf,src={secret}", "--target", target, "--tag", image,
        "--file", str(ROOT / "Dockerfile"), str(ROOT),
    ]  # fmt: skip


def usable_settings(engine: str) -> dict[str, str]:
    """Returns pip's settings without those that name files, where the engine cannot mount files."""
    settings = machine_settings()
    if engine != "docker":
        return settings
    kept = {name: value for name, value in settings.items() if not local_paths({name: value})}
    if left_out := sorted(set(settings) - set(kept)):
        sys.stderr.write(f"docker cannot mount files of this machine: pip's {', '.join(left_out)} not used\n")
    return kept


def main(words: Sequence[str]) -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: both")
    parser.add_argument("--engine", choices=ENGINES, help="default: the first that works")
    parser.add_argument("--base-image", help="a Debian image with Python 3.11 or newer")
    parser.add_argument("--torch", default="cpu", help="cpu, cuda, or the label of an index, such as cu126")
    parser.add_argument("--tag", default="local", help="default: local, which docker-compose.yml uses")
    given = parser.parse_args(words)
    engine = given.engine or find_engine()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    arguments = {"VERSION": version, "REVISION": revision(), "TORCH": given.torch}
    if given.base_image:
        arguments["BASE_IMAGE"] = given.base_image
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as secret:
        secret.write(as_file(usable_settings(engine)))
        secret.flush()
        for target in given.targets or TARGETS:
            suffix = "" if target == "api" or given.torch == "cpu" else f"-{given.torch}"
            image = f"undegrade-{target}:{given.tag}{suffix}"
            start_s = time.monotonic()
            command = build_command(engine, target, image=image, arguments=arguments, secret=Path(secret.name))
            if code := subprocess.run(command, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=False).returncode:
                sys.exit(code)
            sys.stderr.write(f"{image} is built, in {time.monotonic() - start_s:.0f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
