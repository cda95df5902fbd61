"""The text-image fusion block (TIFB): combines caption and degradation to the input of the prompt.

The published code adds the normalized caption feature to the degradation embedding; the paper concatenates them.  The
rest of the block, which weights a learned prompt and adds it to the time embedding, is part of `ConditionalUNet`.

Shapes:  B images, D joint width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.etdiffir.erunet import Mode


def fuse(caption: Tensor, degradation: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """Combine the caption feature and the degradation embedding, (B, D) each, not normalized.

    Returns:
        The token of the cross-attention, (B, D), and the input of the prompt, (B, D) or in paper mode (B, 2 D).
    """
    token = F.normalize(caption, dim=-1)
    joint = torch.cat([token, degradation], dim=-1) if mode == "paper" else token + degradation
    return token, joint
