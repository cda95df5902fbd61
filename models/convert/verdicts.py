"""What was found against what was expected, for every kind of check: one row a group of tensors.

A row holds the largest difference, absolute and relative to the group's largest expected value, and whether it is
within tolerance.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.errors import BundleError, ControlsError

M = TypeVar("M")
Vectors = Mapping[str, Tensor]
Measure = Literal["absolute", "of range", "differ"]
"""of range: relative to the group's largest expected value; differ: a count of what should be equal."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One group's verdict."""

    group: str
    absolute: float
    relative: float
    tolerance: float
    measure: Measure = "absolute"

    @property
    def ok(self) -> bool:
        found = self.relative if self.measure == "of range" else self.absolute
        return found <= self.tolerance  # false for a difference that is no number

    @property
    def verdict(self) -> str:
        return "ok" if self.ok else "MISSED"

    @property
    def tolerance_text(self) -> str:
        return f"{self.tolerance:.0e} {self.measure}" if self.measure != "differ" else "equal"


Pair = tuple[Tensor, Tensor]
"""What was found and what was expected."""


def row(group: str, tolerance: float, pairs: list[Pair], measure: Measure = "absolute") -> Row:
    """The largest differences over all pairs of a group, of which there must be one.

    Raises:
        BundleError: a pair's shapes differ.
    """
    absolute, relative = [], []
    for found, expected in pairs:
        if found.shape != expected.shape:
            raise BundleError(f"{group}: got the shape {list(found.shape)}, expected {list(expected.shape)}.")
        difference = float((found.double() - expected.double()).abs().max())
        scale = float(expected.double().abs().max())
        absolute.append(difference)
        relative.append(difference / scale if scale else difference)
    # torch's maximum keeps what is no number; Python's loses it
    largest, share = (float(torch.tensor(values, dtype=torch.float64).max()) for values in (absolute, relative))
    return Row(group=group, absolute=largest, relative=share, tolerance=tolerance, measure=measure)


Check = Callable[[M, Vectors, Path], Iterator[Row]]
"""Compares one file's tensors; the path is that of the file, for what lies beside it."""


def files_there(vectors: Path, names: Iterable[str]) -> dict[str, Path]:
    """The vector files that are there.

    Raises:
        ControlsError: there is none at all.
    """
    names = list(names)
    there = {name: vectors / f"{name}.safetensors" for name in names if (vectors / f"{name}.safetensors").is_file()}
    if not there:
        expected = ", ".join(f"{name}.safetensors" for name in names)
        raise ControlsError(f"{vectors} has no vectors to compare with. Expected some of {expected}.")
    return there


def compare(model: M, checks: Mapping[str, Check[M]], vectors: Path) -> Iterator[Row | str]:
    """A row for each group of tensors that is there; the names of the files that are not.

    Raises:
        ControlsError: there is no vector file at all.
        BundleError: a vector file cannot be read or lacks a tensor.
    """
    there = files_there(vectors, checks)
    for name, check in checks.items():
        if name not in there:
            yield f"{name}.safetensors"
        else:
            yield from _rows(model, there[name], check)


def _rows(model: M, path: Path, check: Check[M]) -> Iterator[Row]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"cannot read {path}: {error}. Fetch the vectors again.") from error
    try:
        with torch.inference_mode():
            rows = list(check(model, tensors, path))
    except KeyError as error:
        raise BundleError(f"{path} has no tensor {error}. Fetch the vectors again.") from error
    if not rows:
        raise BundleError(f"{path} has none of the tensors that are compared. Fetch the vectors again.")
    yield from rows


def groups(vectors: Vectors, leaf: str) -> list[str]:
    """The prefixes that have a tensor of this name: ["a.", "odd."] for a.result and odd.result."""
    return sorted(key.removesuffix(leaf) for key in vectors if key.endswith(f".{leaf}"))
