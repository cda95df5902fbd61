"""Initializes DA-CLIP's one-step NAFNet with AutoDIR's correction module, which has been trained on a million crops.

Both are NAFNets with mostly the same weights.  The correction module reads the degraded and the diffused picture; if
both are the degraded picture, their first filters add up.  The biases of its norms become the biases of the modulation
shifts.  Parts that only the new network has start without effect: modulations are 0.  The middle blocks have attention
instead of channel attention, so there the two networks differ from the start.

The published prompt starts with values in [0, 1] times a softmax over 4 width entries.  The words would reach the
blocks about a hundred times too weakly to be learned in an hour, so the prompt starts 4 width times as large.
"""

from pathlib import Path

import torch
from torch import Tensor

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.errors import TrainingError
from models.networks.nafnet import NAFNet
from models.networks.nafnet import NAFNetConfig as CorrectionConfig


def as_correction(config: NAFNetConfig) -> CorrectionConfig:
    """Returns the configuration of the correction module with the same widths and depths."""
    return CorrectionConfig(
        width=config.width, encoder_blocks=config.encoder_blocks, middle_blocks=config.middle_blocks,
        decoder_blocks=config.decoder_blocks, patch=config.patch,
    )  # fmt: skip


@torch.no_grad()
def start_from_correction(network: ConditionalNAFNet, correction: NAFNet, source: Path | str) -> None:
    """Copy `correction` into `network`, in place; `source` names it in errors.

    Raises:
        TrainingError: widths or depths differ.
    """
    if as_correction(network.config) != correction.config:
        raise TrainingError(f"{source} holds a {correction.config}, expected a {as_correction(network.config)}")
    old, new = correction.state_dict(), network.state_dict()
    for key, value in new.items():
        if key == "intro.weight":
            value.copy_(_summed_inputs(old[key]))
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


def _summed_inputs(weight: Tensor) -> Tensor:
    """Add the filters of both input pictures: (C, 2 N, 3, 3) -> (C, N, 3, 3).

    Folding pixels keeps the patch of each channel together, so the first half belongs to the degraded picture.
    """
    degraded, diffused = weight.chunk(2, dim=1)
    return degraded + diffused
