"""Reads the sizes of networks from tensor shapes, for every family."""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from models.errors import BundleError

Shapes = Mapping[str, torch.Size]
"""The shape of each tensor of a checkpoint, by key."""


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Returns the shapes of a state dict."""
    return {key: value.shape for key, value in state.items()}


def shape_of(shapes: Shapes, key: str, dimensions: int, consequence: str) -> torch.Size:
    """Returns the shape of a tensor; `consequence` ends the error message if the tensor is missing.

    Raises:
        BundleError: the tensor is missing, empty, or has another number of dimensions.
    """
    if key not in shapes:
        raise BundleError(f"the checkpoint has no {key}, so {consequence}")
    shape = shapes[key]
    if len(shape) != dimensions or 0 in shape:
        raise BundleError(
            f"the checkpoint's {key} has the shape {list(shape)}, expected {dimensions} dimensions. It is damaged."
        )
    return shape


def count_modules(shapes: Shapes, pattern: str) -> int:
    """Returns the number of numbered modules: one more than the largest number that the pattern's group matches."""
    numbers = (int(match[1]) for key in shapes if (match := re.match(pattern, key)))
    return max(numbers, default=-1) + 1


def clip_heads(width: int) -> int:
    """Returns the number of CLIP's attention heads: one per 64 channels, but at least 4."""
    return max(width // 64, 4)


def mlp_ratio(rows: int, width: int) -> float:
    """Returns the ratio with which open_clip builds a layer of `rows` rows; it rounds rows down."""
    ratio = rows / width
    return ratio if int(width * ratio) == rows else math.nextafter(ratio, math.inf)
