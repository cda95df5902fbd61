"""What every stage is told."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Options:
    """`tiny` takes small networks, pictures and counts, so that a CPU runs every stage in seconds."""

    device: torch.device
    tiny: bool
