"""Runs the command in this process or in a process of its own, with a bundle of small random networks."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_server import FileHandler, FileServer
from PIL import Image
from random_bundle import write_random_bundle

from models.registry_files import RemoteFile

COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]


@dataclass(frozen=True)
class CommandResult:
    """Exit code, stdout and stderr of a run."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one bundle, named as the default one; its networks are small and untrained."""
    folder = tmp_path_factory.mktemp("bundles")
    write_random_bundle(folder / "autodir-small")
    return folder


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, without UNDEGRADE_ variables."""
    for name in [name for name in os.environ if name.startswith("UNDEGRADE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def undegrade(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Callable[..., CommandResult]]:
    """Runs `undegrade WORDS` in this process."""
    from cli.main import main
    from cli.settings import settings

    def run(*words: object, stdin: bytes = b"") -> CommandResult:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["undegrade", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main()
        captured = capsysbinary.readouterr()
        return CommandResult(exit_info.value.code or 0, captured.out, captured.err.decode())

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)
    settings.cache_clear()


@pytest.fixture
def with_bundle(
    undegrade: Callable[..., CommandResult], bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., CommandResult]:
    """Runs `undegrade WORDS` with the random bundle as the default."""
    monkeypatch.setenv("UNDEGRADE_BUNDLES", str(bundles))
    return undegrade


@pytest.fixture
def process(workplace: Path) -> Callable[..., CommandResult]:
    """Runs `undegrade WORDS` in a process of its own."""

    def run(*words: object, stdin: bytes = b"", **settings: str) -> CommandResult:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **settings}
        completed = subprocess.run([*COMMAND, *map(str, words)], input=stdin, capture_output=True, env=env, timeout=120)
        return CommandResult(completed.returncode, completed.stdout, completed.stderr.decode())

    return run


@pytest.fixture
def photo(workplace: Path) -> Callable[..., Path]:
    """Writes a small photo of random pixels below the current folder; the same name has the same pixels."""

    def write(name: str, height: int = 24, width: int = 32, **options: object) -> Path:
        path = workplace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return Path(name)

    return write


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    """A running HTTP server of files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FileHandler)
    server.daemon_threads = True
    server.files = FileServer(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.files
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def home(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `models pull` writes to."""
    monkeypatch.setenv("XDG_DATA_HOME", str(workplace / "data"))
    return workplace / "data" / "undegrade" / "bundles"


@pytest.fixture
def write_registry() -> Callable[..., Path]:
    """Writes a registry with one entry; its values look the same in TOML and JSON."""

    def write(path: Path, name: str = "tiny", **entry: Any) -> Path:
        files = [file.model_dump() for file in entry.pop("files")]
        fields = {"description": "", "license": "MIT", **entry}
        lines = ["format = 1", f"[models.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
        for file in files:
            lines += [f"[[models.{name}.files]]", *(f"{key} = {json.dumps(value)}" for key, value in file.items())]
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture
def bundle_source(bundles: Path) -> Path:
    """The bundle whose files the server has."""
    return bundles / "autodir-small"


@pytest.fixture
def stocked(
    file_server: FileServer,
    bundle_source: Path,
    home: Path,
    workplace: Path,
    write_registry: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, RemoteFile]:
    """The server has a bundle, and UNDEGRADE_REGISTRY names a registry that lists its manifest as `tiny`."""
    files = {path.name: file_server.add(path.name, path.read_bytes()) for path in sorted(bundle_source.iterdir())}
    monkeypatch.setenv("UNDEGRADE_REGISTRY", str(workplace / "registry.toml"))
    write_registry(workplace / "registry.toml", kind="bundle", files=[files["bundle.json"]])
    return files


@pytest.fixture
def start_process(workplace: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts `undegrade WORDS` in a process of its own."""

    def start(*words: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)

    return start
