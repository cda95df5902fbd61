"""DA-CLIP's one-step NAFNet begins as AutoDIR's correction module, which has seen a million crops already.

Both are NAFNets and share most of their weights.  The module takes the degraded picture and the diffused one; given the
degraded one twice, their filters add up.  Its norms have biases: here the same numbers are the bias of the modulation's
shift.  What only the new network has begins so that it changes nothing: modulations at 0.  In the bottom blocks
attention takes the place of channel attention, so there the two differ from the start.

The published prompt begins as numbers in [0, 1] times a softmax over 4 width entries: the words would reach the blocks
about a hundred times too weakly to be learned in an hour, so it begins 4 width times as large.
"""

from pathlib import Path

import torch
from torch import Tensor

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.errors import TrainingError
from models.networks.nafnet import NAFNet
from models.networks.nafnet import NAFNetConfig as CorrectionConfig


def as_correction(config: NAFNetConfig) -> CorrectionConfig:
    """The correction module of the same widths and depths."""
    return CorrectionConfig(
        width=config.width, encoder_blocks=config.encoder_blocks, middle_blocks=config.middle_blocks,
        decoder_blocks=config.decoder_blocks, patch=config.patch,
    )  # fmt: skip


@torch.no_grad()
def transplant(network: ConditionalNAFNet, correction: NAFNet, source: Path | str) -> None:
    """Fill `network` from `correction`, in place.

    Raises:
        TrainingError: they are of other widths or depths.
    """
    if as_correction(network.config) != correction.config:
        raise TrainingError(f"{source} holds a {correction.config}, expected a {as_correction(network.config)}")
    old, new = correction.state_dict(), network.state_dict()
    for key, value in new.items():
        if key == "intro.weight":
            value.copy_(_both(old[key]))
        elif key in old:
            value.copy_(old[key])
        elif key.endswith((".norm1.g", ".norm2.g")) and ".att." not in key:
            value.copy_(old[key.removesuffix("g") + "weight"].reshape_as(value))
        elif key.endswith(".mlp.1.weight"):
            value.zero_()
        elif key.endswith(".mlp.1.bias"):
            block = key.removesuffix("mlp.1.bias")
            first, second = old[block + "norm1.bias"], old[block + "norm2.bias"]
            value.copy_(torch.cat([first, torch.zeros_like(first), second, torch.zeros_like(second)]))
        elif key == "prompt":
            value.mul_(value.shape[-1])


def _both(weight: Tensor) -> Tensor:
    """Of two pictures that are the same one: (C, 2 N, 3, 3) -> (C, N, 3, 3).

    Folded pixels keep each channel's patch together, so the degraded picture's channels are the first half.
    """
    degraded, diffused = weight.chunk(2, dim=1)
    return degraded + diffused
