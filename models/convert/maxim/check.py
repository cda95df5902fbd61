"""Compares a MAXIM network with recorded outputs of the TensorFlow graph in its package."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from models.convert.bundle_writer import OnProgress
from models.convert.maxim.conversion import load_package
from models.convert.maxim.package import read_package
from models.convert.verdicts import Row, Vectors, compare, compare_pairs
from models.maxim.network import MAXIM
from models.pixels import as_image, floats

TOLERANCE = 1e-4
"""Absolute.  The difference is up to 5.6e-5 and TensorFlow's: its LayerNorm computes E[x^2] - E[x]^2 in float32."""


def check_maxim(package: Path, vectors: Path, _on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """Yield a row for each picture of maxim-TASK.safetensors, where TASK is that of the package.

    Raises:
        BundleError: the package or the vectors cannot be read.
        ControlsError: the folder has no vectors for this task.
    """
    network = load_package(package)
    yield from compare(network, {f"maxim-{read_package(package).task}": _rows}, vectors)


def _rows(network: MAXIM, vectors: Vectors, path: Path) -> Iterator[Row]:
    for key in sorted(key for key in vectors if key.startswith("input_")):
        answer: Tensor = network(floats(as_image(vectors[key].numpy()))[None])[0]
        expected = vectors[key.replace("input_", "output_")]
        yield compare_pairs(f"{path.stem} {key}", TOLERANCE, [((answer.permute(1, 2, 0) + 1) / 2, expected)])
