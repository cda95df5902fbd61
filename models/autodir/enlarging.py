"""Photos that a network of the bundle enlarges: they are restored in their own size, and enlarged in the last pass.

The network learned to enlarge undamaged pictures, and takes noise and compression for details.  In its own size, a
photo also has 4 or 16 times fewer pixels to repair.

Shapes:  H W pixels of the photo, s scale.  Images are RGB (3, H, W), see models.pixels.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from models.autodir.specialists import Specialists
from models.device import to_device
from models.pixels import floats
from models.restorer import ENLARGING_REPAIR, Request
from models.tiles import Tile


def start_of(
    request: Request, remaining: tuple[str, ...], specialists: Specialists, *, free_prompt: bool = False
) -> Request:
    """Returns the request for the photo in its own size where a network will enlarge it, else the request.

    A free prompt runs one pass of its own, and strict mode has no specialists: both get the enlarged photo.
    """
    controls, small = request.controls, request.small
    if small is None or controls.strict or free_prompt or ENLARGING_REPAIR not in remaining:
        return request
    key = specialists.key_of(ENLARGING_REPAIR, scale=controls.scale)
    if key is None or specialists.scale(key) != controls.scale:
        return request
    return replace(request, image=to_device(small, request.image.device))


def enlarged(image: Tensor, scale: int) -> Tensor:
    """Returns the bicubic enlargement, (3, s H, s W) float32 in [-1, 1]: that of models/photo/part.py."""
    if scale == 1:
        return image
    height, width = image.shape[-2:]
    size = (height * scale, width * scale)
    out = torch.empty(3, *size, device=image.device)
    for channel, target in zip(image, out, strict=True):  # not all channels at once, which takes memory
        # Without antialiasing, torch interpolates with other weights than Pillow
        target.copy_(F.interpolate(floats(channel)[None, None], size, mode="bicubic", antialias=True)[0, 0])
    return out.clamp_(-1, 1)


def enlarged_tile(tile: Tile, scale: int) -> Tile:
    """Returns the part of the enlarged photo that a tile becomes."""
    top, left, height, width = (side * scale for side in (tile.top, tile.left, tile.height, tile.width))
    return Tile(top, left, height, width, tile.index, tile.count)
