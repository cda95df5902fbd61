"""Conversion between pixel arrays and the tensors that networks take, and padding.

Orientation, color profiles and alpha are handled in models/photo/.

An **image** is a tensor (3, H, W) on any device: integers as they were decoded (uint8 or uint16), or float32 in
[-1, 1].  Integers take a quarter of the memory, and every function here takes both.

Shapes:  H W pixels, C channels.  Pixels are RGB arrays (H, W, 3), uint8 or uint16.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


DType = type[np.uint8] | type[np.uint16]

STRIP_PX = 2**20
"""Whole images are converted in strips of about so many pixels, so that no second copy of a large photo exists."""


def as_image(pixels: Pixels) -> Tensor:
    """(H, W, 3) -> (3, H, W) of the same integers; shares the memory of the array where that is writable."""
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)


def floats(image: Tensor) -> Tensor:
    """Returns an image, or a part (..., H, W) of one, as float32 in [-1, 1]: x / 127.5 - 1, and likewise for 16 bits.

    Floats are returned as they are.
    """
    if image.is_floating_point():
        return image
    levels = image.to(torch.float32, memory_format=torch.contiguous_format)
    return levels.mul_(2 / torch.iinfo(image.dtype).max).sub_(1)


def to_tensor(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 or uint16 -> (3, H, W) float32 in [-1, 1]."""
    return floats(as_image(pixels))


def quantized(image: Tensor, dtype: DType = np.uint8, *, truncate: bool = False) -> Tensor:
    """Returns an image as integers (H, W, 3), clamped and rounded, on its own device; integers of `dtype` unchanged."""
    wanted = torch.uint8 if dtype is np.uint8 else torch.uint16
    if image.dtype == wanted:
        return image.permute(1, 2, 0).contiguous()
    height, width = image.shape[-2:]
    levels = torch.empty(height, width, 3, dtype=wanted, device=image.device)
    rows = max(1, STRIP_PX // width)
    for strip, out in zip(torch.split(image.detach(), rows, dim=1), torch.split(levels, rows), strict=True):
        scaled = floats(strip).float().add(1).div_(2).clamp_(0, 1).mul_(float(np.iinfo(dtype).max))
        out.copy_((scaled.floor_() if truncate else scaled.round_()).permute(1, 2, 0))
    return levels


def to_pixels(image: Tensor, dtype: DType = np.uint8, *, truncate: bool = False) -> Pixels:
    """(3, H, W) -> (H, W, 3), clamped and rounded; `truncate` drops fractions, as AutoDIR's code does."""
    pixels: Pixels = quantized(image, dtype, truncate=truncate).cpu().numpy()
    return pixels


def is_finite(image: Tensor) -> Tensor:
    """Returns a boolean scalar on the image's device: False if the image contains NaN or infinite values."""
    if not image.is_floating_point():
        return torch.ones((), dtype=torch.bool, device=image.device)
    rows = max(1, STRIP_PX // image.shape[-1])
    return torch.stack([torch.isfinite(strip).all() for strip in torch.split(image, rows, dim=-2)]).all()


def mix(before: Tensor, after: Tensor, share: float) -> Tensor:
    """Returns before + share (after - before), (3, H, W) float32 where `after` lies."""
    out = torch.empty_like(after)
    for old, new, out_channel in zip(before, after, out, strict=True):  # not all channels at once, which takes memory
        torch.lerp(floats(old).to(new.device), new, share, out=out_channel)
    return out


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


BLACK_BELOW = -0.97
"""Channel values below this count as black; it is just under 4 of 255."""


def newly_black_share(before: Tensor, after: Tensor) -> float:
    """Returns the share of pixels, 0 to 1, in which a channel became black; both images are (3, H, W)."""
    black = [(floats(b) >= BLACK_BELOW) & (floats(a) < BLACK_BELOW) for b, a in zip(before, after, strict=True)]
    return float(torch.stack(black).any(dim=0).float().mean())
