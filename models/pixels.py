"""Conversion between pixel arrays and the tensors that networks take, and padding.

Orientation, color profiles and alpha are handled in models/photo/.

Shapes:  H W pixels, C channels.  Pixels are RGB (H, W, 3), uint8 or uint16; tensors are (3, H, W) float32 in [-1, 1].
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def to_tensor(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 or uint16 -> (3, H, W) float32 in [-1, 1]: x / 127.5 - 1, and likewise for 16 bits."""
    max_value = float(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).mul_(2 / max_value).sub_(1).contiguous()


def to_pixels(image: Tensor, dtype: type[np.uint8] | type[np.uint16] = np.uint8, *, truncate: bool = False) -> Pixels:
    """(3, H, W) in [-1, 1] -> (H, W, 3), clamped and rounded; `truncate` drops fractions, as AutoDIR's code does."""
    max_value = float(np.iinfo(dtype).max)
    scaled = image.detach().float().cpu().add(1).div_(2).clamp_(0, 1).mul_(max_value)
    whole = scaled.floor_() if truncate else scaled.round_()
    return np.ascontiguousarray(whole.permute(1, 2, 0).numpy().astype(dtype))


def pad_to_multiple(x: Tensor, multiple: int, mode: str = "constant") -> Tensor:
    """Pad (..., H, W) at the right and the bottom; "reflect" becomes "replicate" if a side is too short to reflect."""
    height, width = x.shape[-2:]
    return pad_to(x, (height + -height % multiple, width + -width % multiple), mode)


def pad_to(x: Tensor, size: tuple[int, int], mode: str = "constant") -> Tensor:
    """Pad (..., H, W) to a height and width of at least its own, in the same way."""
    height, width = x.shape[-2:]
    bottom, right = size[0] - height, size[1] - width
    if not bottom and not right:
        return x
    if mode == "reflect" and (bottom >= height or right >= width):
        mode = "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)


def max_change_levels(before: Tensor, after: Tensor) -> float:
    """Returns the largest change of a channel value, in levels of 8 bits (0 to 255); images (3, H, W) in [-1, 1]."""
    # One channel at a time: the difference of a large photo would need as much memory as the photo
    return max(float((a - b).abs_().max()) for a, b in zip(after, before, strict=True)) * 127.5


BLACK_BELOW = -0.97
"""Channel values below this count as black; it is just under 4 of 255."""


def newly_black_share(before: Tensor, after: Tensor) -> float:
    """Returns the share of pixels, 0 to 1, in which a channel became black; both images (3, H, W) in [-1, 1]."""
    return float(((before >= BLACK_BELOW) & (after < BLACK_BELOW)).any(dim=0).float().mean())
