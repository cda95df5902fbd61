"""A Docker engine of our own in a network namespace of its own, on a machine without systemd."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import cache_folder, install, run

START_S, STOP_S = 60, 60
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Engine:
    """The engine's socket and its network namespace."""

    socket: Path
    namespace: str

    @property
    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": f"unix://{self.socket}"}

    def run(self, words: Sequence[str], env: Mapping[str, str], timeout_s: float) -> str:
        """Run a client of the engine.  Raises AssertionError with what it printed."""
        done = subprocess.run(words, capture_output=True, text=True, env=dict(env), timeout=timeout_s, check=False)
        assert done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def docker(self, *words: str) -> str:
        return self.run(["docker", *words], {**os.environ, **self.environment}, STOP_S)

    def load(self, images: Mapping[str, str]) -> None:
        """Copy images of podman into the engine, each under another name, unless it has them."""
        for name, tag in images.items():
            identity = run("podman", "image", "inspect", "--format", "{{.Id}}", name)
            if identity not in self.docker("images", "--quiet", "--no-trunc"):
                archive = cache_folder() / "image.tar"
                archive.unlink(missing_ok=True)
                run("podman", "save", "--format", "docker-archive", "--output", archive, name)
                self.run(["docker", "load", "--input", str(archive)], {**os.environ, **self.environment}, 600)
                archive.unlink()
            self.docker("tag", identity, tag)


@contextmanager
def docker_engine() -> Iterator[Engine]:
    """Run an engine for as long as the block lasts.  Images stay in the cache folder."""
    install(("docker.io", "iptables", "iproute2"), ("dockerd", "docker", "ip", "nsenter"))
    folder = cache_folder() / "docker"
    folder.mkdir(parents=True, exist_ok=True)
    namespace = f"undegrade-{os.getpid()}"
    engine = Engine(folder / "docker.sock", namespace)
    run("ip", "netns", "add", namespace)
    try:
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        with (folder / "dockerd.log").open("w") as log:
            daemon = subprocess.Popen(_command(folder, engine), stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(engine, daemon, folder / "dockerd.log")
            yield engine
        finally:
            daemon.terminate()
            try:
                daemon.wait(STOP_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
    finally:
        subprocess.run(["ip", "netns", "delete", namespace], check=False)


def _command(folder: Path, engine: Engine) -> list[str]:
    return [
        "nsenter", f"--net=/run/netns/{engine.namespace}", "dockerd", "--host", f"unix://{engine.socket}",
        "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid"),
        "--default-ulimit", "nofile=1024:4096", "--storage-driver", "overlay2",
    ]  # fmt: skip


def _wait(engine: Engine, daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    end_s = time.monotonic() + START_S
    while True:
        done = subprocess.run(
            ["docker", "info"], env={**os.environ, **engine.environment}, capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        if daemon.poll() is not None or time.monotonic() > end_s:
            sys.exit(f"error: dockerd does not start\n{log.read_text()[-3000:]}")
        time.sleep(0.3)


def enter_namespace(name: str) -> None:
    """Move this thread into a network namespace, where the ports of the engine are published.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
