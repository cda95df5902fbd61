"""Compares DAT-light with recorded outputs of the authors' code in the package."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from models.convert.bundle_writer import OnProgress, build_planned
from models.convert.dat.conversion import SCALES, plan_network
from models.convert.dat.package import read_wheel
from models.convert.verdicts import Row, compare, pictures_within, vector_files
from models.dat.network import DAT

TOLERANCE = 1e-4
"""Of the range of pixels, [0, 1].  Rounding moves up to 4e-6."""


def check_dat(wheel: Path, vectors: Path, _on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """Yield a row for each picture of dat-x2.safetensors and dat-x4.safetensors.

    Raises:
        BundleError: the wheel or the vectors cannot be read.
        ControlsError: the folder has no vectors.
    """
    names = {f"dat-x{scale}": scale for scale in SCALES}
    found = vector_files(vectors, names)
    for name, scale in names.items():
        if name not in found:
            yield f"{name}.safetensors"
            continue
        state = read_wheel(wheel, (scale,))[scale]
        config, plan = plan_network(state, name, scale, torch.float32, wheel.name)
        network = build_planned(partial(DAT, config), plan, wheel.name)
        yield from compare(network, {name: pictures_within(TOLERANCE)}, vectors)
