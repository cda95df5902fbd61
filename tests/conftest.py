"""What the tests share: published inputs and outputs, and the random checkpoint that made them (tests/parity)."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor  # not at run time: many tests never need torch

PARITY = Path(__file__).parent / "parity"
SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session")
def parity() -> Path:
    """The few vectors that are kept in the repository."""
    return PARITY / "autodir"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data beside the checkout; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not there: it holds the larger parity vectors and the test photographs")
    return SHARED


def _weights() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_weights", PARITY / "weights.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def checkpoint() -> "Callable[[str], dict[str, Tensor]]":
    """The tensors of the random AutoDIR checkpoint below a prefix, by their names without it; no int64 buffers."""
    weights = _weights()
    lines = (PARITY / "autodir" / "keys.tsv").read_text().splitlines()

    def below(prefix: str) -> "dict[str, Tensor]":
        rows = [line.split("\t") for line in lines if line.startswith(prefix)]
        return {
            key.removeprefix(prefix): weights.autodir_tensor(key, tuple(json.loads(shape)))
            for key, shape, dtype in rows
            if dtype != "int64"
        }

    return below
