"""Does a checkpoint, converted and loaded as the product does it, answer as the authors' modules did?

The vectors are safetensors by name (scm, unet, vae, clip, sampler, pipeline_auto, pipeline_user); a folder may hold
some of them.  Every group of tensors gives one row: the largest difference, absolute and relative to the group's
largest expected value, and whether it is within tolerance.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.autodir import AutoDIR
from models.convert.autodir import Heads
from models.convert.bundle import OnProgress, convert_autodir
from models.errors import BundleError, ControlsError
from models.families import load_restorer

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


def check_autodir(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """A row for each group of tensors that is there; the names of the files that are not.

    Raises:
        ControlsError: there is no vector file at all.
        BundleError: the checkpoint cannot be converted, or a vector file cannot be read or lacks a tensor.
    """
    from models.convert.check_networks import CHECKS as NETWORKS
    from models.convert.check_program import CHECKS as PROGRAM

    checks: dict[str, Check] = {**NETWORKS, **PROGRAM}
    there = {name: vectors / f"{name}.safetensors" for name in checks if (vectors / f"{name}.safetensors").is_file()}
    if not there:
        names = ", ".join(f"{name}.safetensors" for name in checks)
        raise ControlsError(f"{vectors} has no vectors to compare with. Expected some of {names}.")
    with tempfile.TemporaryDirectory(prefix="undegrade-check-") as folder:
        bundle = Path(folder) / "autodir"
        convert_autodir(checkpoint, bundle, torch.float32, on_progress, heads=heads_of(vectors))
        model = load_restorer(bundle, torch.device("cpu"))
    assert isinstance(model, AutoDIR)
    for name, check in checks.items():
        if name not in there:
            yield f"{name}.safetensors"
        else:
            yield from _rows(model, there[name], check)


Check = Callable[[AutoDIR, Vectors, Path], Iterator[Row]]
"""Compares one file's tensors; the path is that of the file, for what lies beside it."""


def _rows(model: AutoDIR, path: Path, check: Check) -> Iterator[Row]:
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


def heads_of(vectors: Path) -> Heads | None:
    """The numbers of attention heads, which no tensor's shape tells, where a meta.json lies beside the vectors."""
    try:
        meta = json.loads((vectors / "meta.json").read_text())
        clip, unet = meta["clip_config"], meta["unet_config"]
        text, vision = (int(clip[tower]["num_attention_heads"]) for tower in ("text", "vision"))
        return Heads(unet=int(unet["num_heads"]), text=text, vision=vision)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the published rule stands
