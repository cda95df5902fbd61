"""Reads the weights that an earlier stage wrote, or that a user names: safetensors files."""

from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.eight_bit import from_eight_bits
from models.errors import TrainingError

N = TypeVar("N", bound=nn.Module)


def read_weights_file(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Returns the tensors whose names start with `prefix`, without it.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"cannot read {path}: {error}. Give a safetensors file, such as OUT/best.safetensors of a stage."
        ) from error
    whole = from_eight_bits(state)  # as a file of a bundle may be
    return {key.removeprefix(prefix): value for key, value in whole.items() if key.startswith(prefix)}


def filled(network: N, path: Path, prefix: str = "") -> N:
    """Give a network the tensors of a file whose names start with `prefix`, strictly; returns the network.

    Raises:
        TrainingError: the file is missing or damaged, or belongs to another network.
    """
    state = {key: value.to(torch.float32) for key, value in read_weights_file(path, prefix).items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise TrainingError(
            f"{path} does not fit {type(network).__name__}: {error}. Give the file of the right stage, trained with "
            "the same --size."
        ) from error
    return network
