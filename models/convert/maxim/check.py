"""Compares a MAXIM network with recorded outputs of the TensorFlow graph in its package."""

from collections.abc import Iterator
from pathlib import Path

from models.convert.bundle_writer import OnProgress
from models.convert.maxim.conversion import load_package
from models.convert.maxim.package import read_package
from models.convert.verdicts import Row, compare, pictures_within

TOLERANCE = 1e-4
"""Absolute.  The difference is up to 5.6e-5 and TensorFlow's: its LayerNorm computes E[x^2] - E[x]^2 in float32."""


def check_maxim(package: Path, vectors: Path, _on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """Yield a row for each picture of maxim-TASK.safetensors, where TASK is that of the package.

    Raises:
        BundleError: the package or the vectors cannot be read.
        ControlsError: the folder has no vectors for this task.
    """
    network = load_package(package)
    yield from compare(network, {f"maxim-{read_package(package).task}": pictures_within(TOLERANCE)}, vectors)
