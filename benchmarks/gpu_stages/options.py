"""What every stage is told."""

import time
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, kw_only=True)
class Options:
    """`tiny` takes small networks, pictures and counts, so that a CPU runs every stage in seconds."""

    device: torch.device
    tiny: bool
    seconds: float = 600.0
    started_s: float = field(default_factory=time.monotonic)

    @property
    def on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def left_s(self) -> float:
        """Returns the seconds that this stage has left, a tenth kept back for its end."""
        return 0.9 * self.seconds - (time.monotonic() - self.started_s)
