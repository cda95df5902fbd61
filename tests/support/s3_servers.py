"""S3 servers for tests: moto, which checks no signatures, and SeaweedFS, which does."""

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret"}
WEED = Path(__file__).parents[2] / ".s3-test" / "bin" / "weed"
"""Where `make s3-test` installs SeaweedFS."""


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto; yields its endpoint."""
    pytest.importorskip("moto", reason="moto[server] is not installed: S3 is not tested", exc_type=ImportError)
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/pictures", method="PUT")):
            pass
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def seaweed_server(folder: Path) -> Iterator[str]:
    """Run SeaweedFS as a real S3 server that makes its bucket at the first write; yields its endpoint."""
    weed = WEED if WEED.exists() else shutil.which("weed")
    if weed is None:
        pytest.skip("SeaweedFS is not installed: make s3-test installs it")
    master, volume, filer, s3 = _free_ports(4)
    command = [
        weed, "server", f"-dir={folder}", "-ip=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}",
        f"-filer.port={filer}", "-filer", "-s3", f"-s3.port={s3}", "-volume.max=100", "-master.volumeSizeLimitMB=64",
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(folder), **CREDENTIALS})
    try:
        until_s = time.monotonic() + 90
        while not _answers(f"http://127.0.0.1:{s3}/healthz"):
            assert process.poll() is None and time.monotonic() < until_s, (folder / "weed.log").read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{s3}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False


def _free_ports(count: int) -> list[int]:
    """Ports below 45,000: SeaweedFS uses each port + 10,000 for gRPC, too."""
    found: list[int] = []
    for port in range(21_000 + time.time_ns() % 20_000, 45_000):
        if len(found) == count:
            break
        with suppress(OSError), socket.socket() as probe, socket.socket() as second:
            probe.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            found.append(port)
    return found
