"""ETDiffIR's checkpoint: sizes from the tensors' shapes, and the table of rules.

The authors released code and no weights, so a checkpoint is one that somebody trained with that code.  Its keys are
ours except for the unused parts of the cross-attention.  The decoder's blocks, which the code stores and never runs,
are kept.
"""

import torch
from torch import nn

from models.convert.daclip.rules import UNET_RULES
from models.convert.sizes import Shapes, count_modules, shape_of
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig

ERUNET_KEY = "mid_block1.block1.proj.0.dwconv.weight"
"""A key that only this U-Net has."""

ERUNET_RULES = UNET_RULES


def erunet_config(shapes: Shapes) -> EfficientUNetConfig:
    """Returns the configuration of a U-Net of the authors' layout, or of ours in paper mode.

    Raises:
        BundleError: a tensor that is needed for a size is missing; the message names it.
    """

    def shape(key: str, dimensions: int) -> torch.Size:
        return shape_of(shapes, key, dimensions, "it is not ETDiffIR's U-Net. Use a checkpoint of the authors' code.")

    shape(ERUNET_KEY, 4)
    width = shape("init_conv.weight", 4)[0]
    context = shape("mid_attn.fn.fn.transformer_blocks.0.attn2.to_v.weight", 2)[1]
    levels = count_modules(shapes, r"downs\.(\d+)\.")
    return EfficientUNetConfig(
        width=width,
        multipliers=tuple(shape(f"downs.{level}.3.weight", 4)[0] // width for level in range(levels)),
        context_dim=context,
        mode="paper" if shape("text_mlp.0.weight", 2)[1] == 2 * context else "published-code",
    )


def erunet_on_meta(config: EfficientUNetConfig) -> dict[str, nn.Module]:
    """Returns the network, on the meta device."""
    with torch.device("meta"):
        return {"unet": EfficientUNet(config)}
