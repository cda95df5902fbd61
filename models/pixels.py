"""Pixels of photos and the tensors that networks take: conversion and padding.

Shapes:  H W pixels, C channels.  Pixels are RGB (H, W, 3), uint8 or uint16; tensors are (3, H, W) float32 in [-1, 1].
Orientation, color profiles and alpha are handled where files are read (models/photo/).
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def to_tensor(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 or uint16 -> (3, H, W) float32 in [-1, 1]: x / 127.5 - 1, and the same for 16 bits."""
    top = float(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).mul_(2 / top).sub_(1).contiguous()


def to_pixels(image: Tensor, dtype: type[np.uint8] | type[np.uint16] = np.uint8, *, truncate: bool = False) -> Pixels:
    """(3, H, W) in [-1, 1] -> (H, W, 3), clamped and rounded; `truncate` drops fractions, as AutoDIR does."""
    top = float(np.iinfo(dtype).max)
    scaled = image.detach().float().cpu().add(1).div_(2).clamp_(0, 1).mul_(top)
    whole = scaled.floor_() if truncate else scaled.round_()
    return np.ascontiguousarray(whole.permute(1, 2, 0).numpy().astype(dtype))


def pad_to_multiple(x: Tensor, multiple: int, mode: str = "constant") -> Tensor:
    """(..., H, W) padded at the right and the bottom; "reflect" falls back to "replicate" where a side is too short."""
    height, width = x.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not down and not right:
        return x
    if mode == "reflect" and (down >= height or right >= width):
        mode = "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


BLACK = -0.97
"""A value below 4 of 255."""


def blackened(before: Tensor, after: Tensor) -> float:
    """The share of pixels, 0 to 1, with a channel that was not black and now is; (3, H, W) in [-1, 1] each."""
    return float(((before >= BLACK) & (after < BLACK)).any(dim=0).float().mean())
