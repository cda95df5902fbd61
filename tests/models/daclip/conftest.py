"""The small random checkpoints in the released layouts, as files; and small networks of other sizes, as states."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner, Result

PARITY = Path(__file__).parents[2] / "parity"
State = dict[str, Tensor]


def _weights():
    spec = importlib.util.spec_from_file_location("parity_weights_daclip", PARITY / "weights.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


weights = _weights()


@pytest.fixture(scope="session")
def vectors_folder() -> Path:
    """The authors' modules' answers, which lie beside the repository."""
    folder = Path(__file__).parents[4] / "shared" / "parity" / "daclip"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; the parity vectors are development data")
    return folder


@pytest.fixture(scope="session")
def vectors(vectors_folder) -> Callable[[str], dict[str, Tensor]]:
    return lambda name: load_file(vectors_folder / f"{name}.safetensors")


@pytest.fixture(scope="session")
def key_shapes(vectors_folder) -> Callable[[str], dict[str, torch.Size]]:
    """The shapes of a key list."""

    def read(name: str) -> dict[str, torch.Size]:
        keys = json.loads((vectors_folder / f"{name}_keys.json").read_text())
        return {key: torch.Size(shape) for key, (shape, _) in keys.items()}

    return read


@pytest.fixture(scope="session")
def tensor_of() -> Callable[[str, tuple[int, ...]], Tensor]:
    """The random value of a tensor, by its key and shape."""
    return weights.daclip_tensor


@pytest.fixture(scope="session")
def random_state(key_shapes) -> Callable[..., State]:
    """A checkpoint's tensors; `context` replaces the 48 that the small U-Nets' contexts have."""

    def make(name: str, context: int | None = None) -> State:
        state = {}
        for key, shape in key_shapes(f"{name}_small").items():
            if context is not None and ("attn2.to_k" in key or "attn2.to_v" in key or key == "text_mlp.0.weight"):
                shape = (shape[0], context)
            state[key] = weights.daclip_tensor(key, tuple(shape))
        return state

    return make


@pytest.fixture(scope="session")
def checkpoint(random_state, tmp_path_factory) -> Callable[..., Path]:
    """The same as the authors' file."""

    def write(name: str, context: int | None = None) -> Path:
        path = tmp_path_factory.mktemp("released") / f"{name}.pt"
        torch.save(released(name, random_state(name, context)), path)
        return path

    return write


def released(name: str, state: State) -> object:
    """As it is in the file: DA-CLIP's is a training checkpoint, with numpy scalars and the prefix of several GPUs."""
    if name != "daclip":
        return state
    settings = {"state": {}, "param_groups": [{"lr": np.float64(1e-5), "params": [0]}]}
    parallel = {f"module.{key}": value for key, value in state.items()}
    return {"epoch": 50, "name": "random", "state_dict": parallel, "optimizer": settings}


@pytest.fixture
def undegrade(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`undegrade WORDS` in this process, wide enough for its tables."""
    from cli.main import app

    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
