"""Compares DAT-light with recorded outputs of the authors' code in the package."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.bundle import load_weights
from models.convert.bundle_writer import OnProgress
from models.convert.dat.conversion import SCALES, plan_network
from models.convert.dat.package import read_wheel
from models.convert.verdicts import Row, Vectors, compare, compare_pairs, vector_files
from models.dat.network import DAT
from models.pixels import as_image, floats

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
        with torch.device("meta"):
            network = DAT(config)
        (tensors,) = plan.values()
        load_weights(network, {tensor.name: tensor.load() for tensor in tensors}, wheel.name)
        yield from compare(network, {name: _rows}, vectors)


def _rows(network: DAT, vectors: Vectors, path: Path) -> Iterator[Row]:
    for key in sorted(key for key in vectors if key.startswith("input_")):
        answer: Tensor = network(floats(as_image(vectors[key].numpy()))[None])[0]
        expected = vectors[key.replace("input_", "output_")]
        yield compare_pairs(f"{path.stem} {key}", TOLERANCE, [((answer.permute(1, 2, 0) + 1) / 2, expected)])
