"""One tone for all tiles: repairs of light follow the repair of the whole photo, seen at once and shrunk.

A tile does not know the brightness of the others.  So what a repair of haze or low light does to broad regions comes
from one pass over the shrunk photo, and what it does to details comes from the tiles (docs/decisions/0052).

Shapes:  H W pixels of the photo, h w pixels of its overview.  Images are RGB (3, H, W), see models.pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixels import floats
from models.tiles import Tile

KINDS = ("haze", "low-light")
"""Damage whose repair depends on the brightness of the whole photo."""
OVERVIEW_PX = 2**19
"""Pixels of an overview: one small tile of work for a photo of many."""
BROAD = 1 / 60
"""Width of the regions that the overview decides on, as a share of its longer side.

With a 24th, tiles of a dark wall differ by 3.9 levels from the whole, with a 60th by 2.3; real pairs gain the same.
"""


def overview(image: Tensor) -> Tensor:
    """Returns the photo shrunk to at most `OVERVIEW_PX` pixels, (3, h, w) float32 in [-1, 1]."""
    height, width = image.shape[-2:]
    scale = min(1.0, (OVERVIEW_PX / (height * width)) ** 0.5)
    size = max(1, int(height * scale)), max(1, int(width * scale))
    return torch.stack([_shrunk(floats(channel), size) for channel in image])


def whole_of(image: Tensor, tiles: int) -> Tile:
    """Returns all of an overview as the tile after `tiles` others."""
    return Tile(0, 0, image.shape[-2], image.shape[-1], tiles, tiles + 1)


def follow(restored: Tensor, tone: Tensor) -> Tensor:
    """Give broad regions of `restored` (3, H, W) the brightness of `tone` (3, h, w), in place, without clamping."""
    size, sigma = (tone.shape[-2], tone.shape[-1]), BROAD * max(tone.shape[-2:])
    for channel, wanted in zip(restored, tone, strict=True):  # not all channels at once, which takes memory
        apart = _blurred(wanted - _shrunk(channel, size), sigma)
        channel += F.interpolate(apart[None, None], channel.shape, mode="bilinear", antialias=False)[0, 0]
    return restored


def _shrunk(channel: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(channel[None, None], size, mode="area")[0, 0]


def _blurred(values: Tensor, sigma: float) -> Tensor:
    """Returns a Gaussian blur of (h, w), reflected at the borders."""
    for axis in (0, 1):
        length = values.shape[axis]
        reach = min(round(3 * sigma), length - 1)
        steps = torch.arange(-reach, reach + 1, device=values.device)
        weights = torch.exp(-0.5 * (steps / max(sigma, 1e-3)) ** 2)
        rows = values.movedim(axis, -1)[:, None]
        padded = F.pad(rows, (reach, reach), mode="reflect")
        values = F.conv1d(padded, (weights / weights.sum())[None, None])[:, 0].movedim(-1, axis)
    return values
