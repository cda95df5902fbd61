"""Sizes that the tensors' shapes tell, for every family."""

import math
import re
from collections.abc import Mapping

import torch

from models.errors import BundleError

Shapes = Mapping[str, torch.Size]
"""Of every tensor of a checkpoint."""


def shape_of(shapes: Shapes, key: str, dimensions: int, otherwise: str) -> torch.Size:
    """The shape of a tensor that tells a size; `otherwise` ends the sentence where it is missing.

    Raises:
        BundleError: it is missing, or has another number of dimensions.
    """
    if key not in shapes:
        raise BundleError(f"the checkpoint has no {key}, so {otherwise}")
    shape = shapes[key]
    if len(shape) != dimensions or 0 in shape:
        raise BundleError(f"the checkpoint's {key} is {list(shape)}, expected {dimensions} dimensions. It is damaged.")
    return shape


def count(shapes: Shapes, pattern: str) -> int:
    """How many of a numbered part there are: one more than the largest number."""
    numbers = (int(match[1]) for key in shapes if (match := re.match(pattern, key)))
    return max(numbers, default=-1) + 1


def clip_heads(width: int) -> int:
    """CLIP's attention heads: of 64 channels, but never fewer than 4."""
    return max(width // 64, 4)


def mlp_ratio(rows: int, width: int) -> float:
    """What open_clip must be told so that it builds so many rows."""
    ratio = rows / width
    return ratio if int(width * ratio) == rows else math.nextafter(ratio, math.inf)  # open_clip rounds down
