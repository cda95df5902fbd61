"""The random AutoDIR checkpoint in the released layout, as a state and as a file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

TOKENS = "model_assessment.clipmodel.text_model.embeddings.token_embedding.weight"
State = dict[str, Tensor]


@pytest.fixture(scope="session")
def state(weights, parity) -> State:
    """Every tensor of the tiny random checkpoint."""
    return weights.autodir_checkpoint(parity / "keys.tsv")["state_dict"]


@pytest.fixture
def small_state(state: State) -> State:
    """A copy with a vocabulary of 100 words, which has a third of the bytes."""
    return {key: value[:100].clone() if key == TOKENS else value for key, value in state.items()}


@pytest.fixture(scope="session")
def checkpoint_file(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as the authors' file."""
    path = tmp_path_factory.mktemp("released") / "autodir.ckpt"
    torch.save({"state_dict": state, "global_step": 0}, path)
    return path


@pytest.fixture
def save_checkpoint(tmp_path: Path) -> Callable[[object], Path]:
    """Saves any object as a checkpoint file."""

    def save(content: object) -> Path:
        torch.save(content, tmp_path / "some.ckpt")
        return tmp_path / "some.ckpt"

    return save


@pytest.fixture(scope="session")
def shapes() -> Callable[[Path], dict[str, torch.Size]]:
    """Reads the shapes of a key list."""

    def read(path: Path) -> dict[str, torch.Size]:
        rows = (line.split("\t") for line in path.read_text().splitlines())
        return {key: torch.Size(json.loads(shape)) for key, shape, _ in rows}

    return read
