"""Weights in 8 bits: each matrix and kernel as int8, with a scale for each of its output channels.

They are computed with in the usual precision; only the file is half as large.  Beside the tensor NAME, a file has
NAME:scale, in half precision.

Shapes:  O output channels (the first dimension), K values of one.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ":scale"
LARGEST = 127


def in_eight_bits(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors with every float of two dimensions or more in 8 bits, and its scales beside it."""
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim < 2 or not value.is_floating_point():
            stored[name] = value
            continue
        rows = value.detach().float().flatten(1)  # (O, K)
        scale = (rows.abs().amax(dim=1, keepdim=True) / LARGEST).half()  # (O, 1)
        # the scale as it is stored, so its rounding costs nothing; that of an empty row is 0
        levels = (rows / scale.float()).nan_to_num(0, 0, 0).round().clamp(-LARGEST, LARGEST)
        stored[name], stored[name + SCALE] = levels.to(torch.int8).reshape(value.shape), scale[:, 0]
    return stored


def from_eight_bits(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors without scales; those that were stored in 8 bits are float32."""
    return {
        name: value if (scale := state.get(name + SCALE)) is None else _scaled(value, scale)
        for name, value in state.items()
        if not name.endswith(SCALE)
    }


def _scaled(levels: Tensor, scale: Tensor) -> Tensor:
    return levels.float() * scale.float().reshape(-1, *[1] * (levels.ndim - 1))
