"""The random checkpoint in the released layout, as a file, and the command in this process."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

PARITY = Path(__file__).parents[2] / "parity"
TOKENS = "model_assessment.clipmodel.text_model.embeddings.token_embedding.weight"
State = dict[str, Tensor]


@pytest.fixture(scope="session")
def state() -> State:
    """Every tensor of the tiny random checkpoint."""
    spec = importlib.util.spec_from_file_location("parity_weights", PARITY / "weights.py")
    assert spec and spec.loader
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    return weights.autodir_checkpoint(PARITY / "autodir" / "keys.tsv")["state_dict"]


@pytest.fixture
def short(state: State) -> State:
    """The same with a vocabulary of 100 words, which is a third of the bytes; a dictionary of its own."""
    return {key: value[:100].clone() if key == TOKENS else value for key, value in state.items()}


@pytest.fixture(scope="session")
def released(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint as the authors' file."""
    path = tmp_path_factory.mktemp("released") / "autodir.ckpt"
    torch.save({"state_dict": state, "global_step": 0}, path)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    """Writes anything as a checkpoint."""

    def save(content: object) -> Path:
        torch.save(content, tmp_path / "some.ckpt")
        return tmp_path / "some.ckpt"

    return save


@pytest.fixture
def undegrade(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`undegrade WORDS` in this process, wide enough for its tables."""
    from cli.main import app

    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session")
def shapes() -> Callable[[Path], dict[str, torch.Size]]:
    """The shapes of a key list."""

    def read(path: Path) -> dict[str, torch.Size]:
        rows = (line.split("\t") for line in path.read_text().splitlines())
        return {key: torch.Size(json.loads(shape)) for key, shape, _ in rows}

    return read
