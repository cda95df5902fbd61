"""Random pictures by seed."""

import torch
from torch import Tensor


def random_picture(height: int = 24, width: int = 32, seed: int = 0) -> Tensor:
    """Returns uniform noise in [-1, 1], (3, height, width)."""
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
