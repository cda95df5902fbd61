"""From host to device without a wait: a step that stops for a copy leaves the device idle until Python is back.

A plain copy of pageable memory waits for everything that was queued before it.  From pinned memory it takes its place
in the queue, and torch keeps the pinned block until the copy is done.
"""

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from models.autodir.samplers import Step, StepCoefficients


def sent(host: Tensor, device: torch.device) -> Tensor:
    """`host` (any shape and type, in host memory) on the device; on a CPU it is the tensor itself."""
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


def coefficients(rows: Sequence[Step], device: torch.device) -> StepCoefficients:
    """`StepCoefficients.stack` in one copy instead of eight: one row an image, `timestep` (B,), others (B, 1, 1, 1)."""
    names = [entry.name for entry in fields(Step)]
    table = sent(torch.tensor([[getattr(row, name) for row in rows] for name in names], dtype=torch.float32), device)
    columns = dict(zip(names, table, strict=True))
    return StepCoefficients(
        **{name: column if name == "timestep" else column[:, None, None, None] for name, column in columns.items()}
    )
