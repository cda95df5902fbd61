"""Converts packages of MAXIM to a bundle: autodir-small, with MAXIM as the specialists for blur, rain, haze, low light.

The bundle stands alone: it holds copies of autodir-small's assessor, denoiser, correction and other specialists.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.autodir.clip_weights import branch_parts
from models.autodir.next_repair import VEIL
from models.bundle import (
    MAX_FILE_BYTES,
    Manifest,
    find_bundle,
    read_manifest,
    sha256_of,
    verify_bundle,
)
from models.convert.bundle_writer import OnProgress, Plan, build_planned, plan_tensors, require_free, write_converted
from models.convert.license import MAXIM_CREDIT, MAXIM_TERMS
from models.convert.maxim.package import Package, read_package
from models.convert.maxim.rules import maxim_config, maxim_rules
from models.convert.maxim.tasks import BLACKENING, GLIMPSED, TASKS, task
from models.convert.sizes import shapes_of
from models.errors import BundleError, ControlsError
from models.maxim.config import MAXIMConfig
from models.maxim.network import MAXIM

BASE = "autodir-small"


class PackageTensors(Mapping[str, Tensor]):
    """The tensors of one package, which is read again if another package of the same `Reader` was read since."""

    def __init__(self, reader: "Reader", path: Path) -> None:
        self._reader, self._path = reader, path

    def __getitem__(self, name: str) -> Tensor:
        return self._reader.read(self._path).tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.read(self._path).tensors)

    def __len__(self) -> int:
        return len(self._reader.read(self._path).tensors)


class Reader:
    """Holds one package in memory, the last one that was asked for."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._package: Package | None = None

    def read(self, path: Path) -> Package:
        if self._package is None or self._path != path:
            self._package = None  # freed before the next is read
            self._path, self._package = path, read_package(path)
        return self._package


def convert_maxim(
    packages: Sequence[Path],
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    base: Path | None = None,
    shard_bytes: int = MAX_FILE_BYTES,
) -> Manifest:
    """Convert packages, in any order, to a bundle in the new folder `out`; after an error nothing is left there.

    What no package repairs stays with the networks of `base` (default: autodir-small).

    Raises:
        BundleError: a package is missing, damaged, of another model, or one that the bundle has no place for.
        ControlsError: `out` exists, or two packages are for the same task.
    """
    require_free(out)
    base = base or find_bundle(BASE)
    verify_bundle(base)
    reader, plan, configs = Reader(), Plan(), {}
    for path in packages:
        name = reader.read(path).task
        place = task(name, path.name)
        if name in configs:
            raise ControlsError(f"got two packages for {name}, expected one. Leave out {path.name}.")
        if place.words and len(packages) == 1:
            raise ControlsError(f"got {name} alone, which serves on request only. Add another package.")
        configs[name], tensors = plan_package(path, dtype, reader)
        plan |= tensors
    sources = ", ".join(f"{path.name} (sha256 {sha256_of(path)})" for path in packages)
    manifest = maxim_manifest(out.resolve().name, read_manifest(base), configs, sources)
    return write_converted(out, manifest, plan, shard_bytes, on_progress, files_of=base)


def plan_package(path: Path, dtype: torch.dtype, reader: Reader) -> tuple[MAXIMConfig, Plan]:
    """Returns the configuration of a package's network, and the tensors to write.

    Raises:
        BundleError: the file is no complete package of a MAXIM network.
    """
    name, tensors = reader.read(path).task, PackageTensors(reader, path)
    network = f"specialist-{name}"
    try:
        config = maxim_config(shapes_of(tensors))
        with torch.device("meta"):
            empty = MAXIM(config)
        return config, plan_tensors(tensors, {network: empty}, maxim_rules(network, config.stages), dtype)
    except BundleError as error:
        raise BundleError(f"{path.name}: {error}") from error


def load_package(package: Path) -> MAXIM:
    """Returns a package's network, in float32.

    Raises:
        BundleError: the file is no complete package of a MAXIM network.
    """
    config, plan = plan_package(package, torch.float32, Reader())
    return build_planned(lambda: MAXIM(config), plan, package.name)


def maxim_manifest(name: str, base: Manifest, configs: Mapping[str, MAXIMConfig], sources: str) -> Manifest:
    """Returns the manifest with the files of `base` that are still used, without those of MAXIM.

    Args:
        configs: the networks by their tasks.
        sources: names what they were converted from.
    """
    default = {TASKS[key].label: TASKS[key] for key in configs if not TASKS[key].words}
    specialists = dict(_remaining(base, default))
    asked = branch_parts(base.networks).values()  # the assessor looks through them, whoever repairs
    weights = {
        part: names for part, names in base.weights.items()
        if not part.startswith("specialist-") or part.removeprefix("specialist-") in specialists or part in asked
    }  # fmt: skip
    kept = {name for names in weights.values() for name in names} | ({base.golden} if base.golden else set())
    for key, config in configs.items():
        place = TASKS[key]
        specialists[key] = {"names": (place.label,), "maxim": asdict(config), "words": place.words}
    loop = {**base.networks["loop"], "glimpsed": GLIMPSED, **({"blackening": BLACKENING} if VEIL in default else {})}
    trained = "; ".join(f"MAXIM {key}: {TASKS[key].trained_on}" for key in configs)
    return base.model_copy(
        update={
            "name": name,
            "version": "1",
            "description": f"{base.name} {base.version} with MAXIM for {', '.join(default)}, converted from {sources}.",
            "license": f"{base.license}; MAXIM: MIT as packaged, upstream Apache-2.0",
            "restrictions": MAXIM_TERMS,
            "credit": MAXIM_CREDIT,
            "degradations": tuple(
                entry.model_copy(update={"strength": default[entry.name].strength, "floor": default[entry.name].floor})
                if entry.name in default else entry
                for entry in base.degradations
            ),
            "networks": {**base.networks, "specialists": specialists, "loop": loop},
            "weights": weights,
            "files": {name: file for name, file in base.files.items() if name in kept},
            "trained_on": f"{trained}. {base.name}: {base.trained_on}",
        }
    )  # fmt: skip


def _remaining(base: Manifest, replaced: Mapping[str, object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the specialists of the base that still repair something."""
    for key, stated in base.networks.get("specialists", {}).items():
        names = [name for name in stated["names"] if name not in replaced]
        if names:
            yield key, {**stated, "names": names}
