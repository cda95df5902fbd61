"""Damage with a direction, as rain that falls, in photos that are stored sideways: which turn a network should see.

Shapes:  B pictures, H W pixels.  Pictures are (B, 3, H, W) in [-1, 1].
"""

import torch
from torch import Tensor

CLEARLY_MORE = 1.3
"""How many times as much a network changes a photo that is stored sideways, once it sees it upright.

Of 15 upright rainy photographs the mean change of the turned one was at most 1.2 times that of the upright one, and of
the same photographs stored sideways at least 1.4 times in 12 (docs/decisions/0052).
"""


def turned(pictures: Tensor, quarters: int) -> Tensor:
    """Returns the pictures turned by right angles: (B, 3, H, W) -> (B, 3, W, H) for odd `quarters`."""
    return torch.rot90(pictures, quarters, (-2, -1))


def is_sideways(degraded: Tensor, upright: Tensor, sideways: Tensor) -> Tensor:
    """Returns, for each picture, whether the repair of its quarter turn is the right one: 3 x (B, 3, H, W) -> (B,).

    `sideways` is that repair, turned back.
    """
    return _change(sideways, degraded) > CLEARLY_MORE * _change(upright, degraded)


def _change(restored: Tensor, degraded: Tensor) -> Tensor:
    return (restored.float().clamp(-1, 1) - degraded.float()).abs().mean(dim=(1, 2, 3))
