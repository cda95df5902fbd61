"""Loads one network from a checkpoint in memory, without writing a bundle: for checks."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.bundle import load_weights
from models.convert.bundle_writer import plan_tensors
from models.convert.rule_table import Rule


def load_converted(state: Mapping[str, Tensor], networks: Mapping[str, nn.Module], rules: Sequence[Rule]) -> nn.Module:
    """Fill the one network of `networks`, which is on the meta device; returns it on the CPU in float32.

    Raises:
        BundleError: the checkpoint does not fit.
    """
    ((name, network),) = networks.items()
    tensors = plan_tensors(state, networks, rules, torch.float32)[name]
    return load_weights(network, {tensor.name: tensor.load() for tensor in tensors}, name)
