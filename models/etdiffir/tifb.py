"""The text-image fusion block: caption and degradation become the one condition that chooses the prompt.

The published code adds the caption's feature, normalized, to the degradation embedding as it is; the paper concatenates
them.  What follows, the softmax over a learned prompt that joins the time embedding, is the skeleton's own.

Shapes:  B images, D joint width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.etdiffir.erunet import Mode


def fuse(caption: Tensor, degradation: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """Features (B, D) of the caption (CLIP's text tower) and the degradation (DA-CLIP's controller), unnormalized.

    Returns:
        The cross-attention's token, (B, D), and the prompt's input, (B, D) or in paper mode (B, 2 D).
    """
    token = F.normalize(caption, dim=-1)
    joint = torch.cat([token, degradation], dim=-1) if mode == "paper" else token + degradation
    return token, joint
