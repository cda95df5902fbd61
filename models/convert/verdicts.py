"""Compares computed tensors with recorded vectors, for every kind of check: one row for each group of tensors.

A row holds the largest difference, absolute and relative to the largest expected value of the group ("range"), and
whether it is within the tolerance.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import BundleError, ControlsError
from models.pixels import as_image, floats

M = TypeVar("M")
Vectors = Mapping[str, Tensor]
Measure = Literal["absolute", "of range", "differ"]
"""of range: relative to the largest expected value of the group; differ: a number of unequal values."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The verdict for one group of tensors."""

    group: str
    absolute: float
    relative: float
    tolerance: float
    measure: Measure = "absolute"

    @property
    def ok(self) -> bool:
        difference = self.relative if self.measure == "of range" else self.absolute
        return difference <= self.tolerance  # False for NaN

    @property
    def verdict(self) -> str:
        return "ok" if self.ok else "MISSED"

    @property
    def tolerance_text(self) -> str:
        return f"{self.tolerance:.0e} {self.measure}" if self.measure != "differ" else "equal"


Pair = tuple[Tensor, Tensor]
"""The computed and the expected tensor."""


def compare_pairs(group: str, tolerance: float, pairs: list[Pair], measure: Measure = "absolute") -> Row:
    """Returns the largest differences over all pairs of a group, which must have at least one.

    Raises:
        BundleError: the shapes of a pair differ.
    """
    absolute, relative = [], []
    for found, expected in pairs:
        if found.shape != expected.shape:
            raise BundleError(f"{group}: got the shape {list(found.shape)}, expected {list(expected.shape)}.")
        difference = float((found.double() - expected.double()).abs().max())
        scale = float(expected.double().abs().max())
        absolute.append(difference)
        relative.append(difference / scale if scale else difference)
    # torch's maximum keeps NaN, Python's may lose it
    largest, share = (float(torch.tensor(values, dtype=torch.float64).max()) for values in (absolute, relative))
    return Row(group=group, absolute=largest, relative=share, tolerance=tolerance, measure=measure)


Check = Callable[[M, Vectors, Path], Iterator[Row]]
"""Compares the tensors of one vector file; gets the file's path, too, to find files beside it."""


def vector_files(vectors: Path, names: Iterable[str]) -> dict[str, Path]:
    """Returns those vector files of these names that exist.

    Raises:
        ControlsError: no file exists.
    """
    names = list(names)
    files = {name: vectors / f"{name}.safetensors" for name in names if (vectors / f"{name}.safetensors").is_file()}
    if not files:
        expected = ", ".join(f"{name}.safetensors" for name in names)
        raise ControlsError(f"{vectors} has no vectors to compare with, expected some of {expected}.")
    return files


def matching_names(vectors: Path, pattern: str, expected: str) -> list[str]:
    """Returns the sorted names of the vector files that match a pattern; [expected] if there is none."""
    return sorted(path.stem for path in vectors.glob(f"{pattern}.safetensors")) or [expected]


def pictures_within(tolerance: float) -> Check[nn.Module]:
    """Returns a check of a network on pictures: pairs input_NAME, uint8 (H, W, 3), and output_NAME, in [0, 1].

    `tolerance` is absolute, of that range.
    """

    def rows(network: nn.Module, vectors: Vectors, path: Path) -> Iterator[Row]:
        for key in sorted(key for key in vectors if key.startswith("input_")):
            answer: Tensor = network(floats(as_image(vectors[key].numpy()))[None])[0]
            expected = vectors[key.replace("input_", "output_")]
            yield compare_pairs(f"{path.stem} {key}", tolerance, [((answer.permute(1, 2, 0) + 1) / 2, expected)])

    return rows


def compare(model: M, checks: Mapping[str, Check[M]], vectors: Path) -> Iterator[Row | str]:
    """Yield a row for each group of tensors, and the name of each missing vector file.

    Raises:
        ControlsError: no vector file exists.
        BundleError: a vector file cannot be read or has no tensor of an expected name.
    """
    files = vector_files(vectors, checks)
    for name, check in checks.items():
        if name not in files:
            yield f"{name}.safetensors"
        else:
            yield from _rows(model, files[name], check)


def _rows(model: M, path: Path, check: Check[M]) -> Iterator[Row]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"cannot read {path}: {error}. Download the vectors again.") from error
    try:
        with torch.inference_mode():
            rows = list(check(model, tensors, path))
    except KeyError as error:
        raise BundleError(f"{path} has no tensor {error}. Download the vectors again.") from error
    if not rows:
        raise BundleError(f"{path} has no tensors to compare. Download the vectors again.")
    yield from rows


def prefixes_of(vectors: Vectors, leaf: str) -> list[str]:
    """Returns the prefixes of tensors of this name: ["a.", "odd."] for a.result and odd.result."""
    return sorted(key.removesuffix(leaf) for key in vectors if key.endswith(f".{leaf}"))
