"""A weights file that cannot be used is an error that names it, whatever is wrong with it."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.errors import TrainingError
from models.training.core.weights_file import filled, read_weights_file


def test_a_network_gets_the_tensors_of_its_part(tmp_path):
    source = nn.Linear(3, 2)
    save_file(
        {"own.weight": source.weight.data.half(), "own.bias": source.bias.data, "x": torch.ones(1)}, tmp_path / "f"
    )
    network = filled(nn.Linear(3, 2), tmp_path / "f", "own.")
    torch.testing.assert_close(network.weight, source.weight.data.half().float())
    assert torch.equal(network.bias, source.bias.data) and set(read_weights_file(tmp_path / "f", "own.")) == {
        "weight", "bias",
    }  # fmt: skip


@pytest.mark.parametrize("content", [None, b"", b"no tensors", b"\xff" * 64])
def test_a_missing_or_damaged_file_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(TrainingError, match=r"cannot read .*w\.safetensors"):
        filled(nn.Linear(3, 2), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "tensors", [{}, {"weight": torch.ones(2, 3)}, {"weight": torch.ones(9, 9), "bias": torch.ones(2)}]
)
def test_a_file_of_another_network_is_named(tmp_path, tensors):
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(TrainingError, match=r"w\.safetensors does not fit Linear"):
        filled(nn.Linear(3, 2), tmp_path / "w.safetensors")
