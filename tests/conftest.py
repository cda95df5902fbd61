"""Fixtures for all tests: recorded vectors, random checkpoints in the released layouts, and the command line."""

import importlib.util
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # not at run time: many tests never need torch
    import torch
    from click.testing import Result
    from torch import Tensor

PARITY = Path(__file__).parent / "parity"
SHARED = Path(__file__).parents[1].parent / "shared"


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start: pytest-xdist and a shell's & start us with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def default_log() -> Iterator[None]:
    """Take back what a command that ran in this process has set for the log."""
    yield
    if "structlog" in sys.modules:
        sys.modules["structlog"].reset_defaults()


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of AutoDIR vectors that are part of the repository."""
    return PARITY / "autodir"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the repository; the test is skipped if it does not exist."""
    if not SHARED.is_dir():
        pytest.skip("../shared does not exist: it holds the larger parity vectors and the test photos")
    return SHARED


@pytest.fixture(scope="session")
def daclip_vectors(shared: Path) -> Path:
    """The folder of vectors of the DA-CLIP and ETDiffIR families."""
    return shared / "parity" / "daclip"


@pytest.fixture(scope="session")
def weights() -> ModuleType:
    """The module tests/parity/weights.py, which computes the random checkpoints behind the vectors."""
    spec = importlib.util.spec_from_file_location("parity_weights", PARITY / "weights.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def checkpoint(weights: ModuleType) -> "Callable[[str], dict[str, Tensor]]":
    """Returns the tensors of the random AutoDIR checkpoint below a prefix, which their names lose; no int64 buffers."""
    lines = (PARITY / "autodir" / "keys.tsv").read_text().splitlines()

    def below(prefix: str) -> "dict[str, Tensor]":
        rows = [line.split("\t") for line in lines if line.startswith(prefix)]
        return {
            key.removeprefix(prefix): weights.autodir_tensor(key, tuple(json.loads(shape)))
            for key, shape, dtype in rows
            if dtype != "int64"
        }

    return below


@pytest.fixture(scope="session")
def daclip_shapes(daclip_vectors: Path) -> "Callable[[str], dict[str, torch.Size]]":
    """Reads the shapes of a checkpoint from a key list, such as "daclip_small" or "e_erunet_full"."""
    import torch

    def read(name: str) -> "dict[str, torch.Size]":
        keys = json.loads((daclip_vectors / f"{name}_keys.json").read_text())
        return {key: torch.Size(shape) for key, (shape, _) in keys.items()}

    return read


@pytest.fixture
def undegrade(monkeypatch: pytest.MonkeyPatch) -> "Callable[..., Result]":
    """Runs `undegrade ARGUMENTS` in this process, with a terminal that is wide enough for its tables."""
    from typer.testing import CliRunner

    from cli.main import app

    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])
