"""`python -m models.training slim`: writes a smaller bundle that restores the same pictures.

models.training.core.slimming has the savings.  Bundles that `package-autodir` and `package-daclip` write have them
already.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from models import golden
from models.bundle import Manifest, find_bundle, read_manifest, read_stored, verify_bundle, write_bundle
from models.errors import TrainingError
from models.families import load_restorer
from models.training.core.slimming import slimmed

CPU = torch.device("cpu")
MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", help="name or folder of the bundle; it is not changed")
    add("--out", type=Path, required=True, help="folder of the new bundle, which must not exist")
    add("--version", help="version of the new bundle; default: that of the old one")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the bundle; returns the exit code.

    Raises:
        TrainingError: the folder exists.
        BundleError: the bundle cannot be read.
    """
    bundle = find_bundle(arguments.bundle)
    if arguments.out.exists():
        raise TrainingError(f"{arguments.out} exists. Choose another --out, or delete it.")
    verify_bundle(bundle)
    manifest = read_manifest(bundle)
    networks = {part: read_stored(bundle, manifest, part, CPU) for part in manifest.weights}
    result = slimmed(manifest, networks)
    version = arguments.version or manifest.version
    changed = result.manifest.model_copy(update={"version": version, "golden": None})
    written = write_bundle(arguments.out, changed, result.networks)
    written = golden.record(load_restorer(arguments.out, CPU), arguments.out, written)
    for note in result.notes:
        console.print(note, markup=False)
    console.print(sizes(manifest, written))
    return 0


def sizes(before: Manifest, after: Manifest) -> Table:
    """Returns a table of the parts of two bundles in MiB."""
    table, rows = Table("part", "MiB before", "MiB after"), (_bytes_of(before), _bytes_of(after))
    for part in dict.fromkeys([*rows[0], *rows[1]]):
        table.add_row(part, *(f"{row.get(part, 0) / MIB:.2f}" for row in rows))
    table.add_row("all", *(f"{sum(row.values()) / MIB:.2f}" for row in rows))
    return table


def _bytes_of(manifest: Manifest) -> Mapping[str, int]:
    parts = {part: sum(manifest.files[name].bytes for name in names) for part, names in manifest.weights.items()}
    return parts if manifest.golden is None else {**parts, "golden": manifest.files[manifest.golden].bytes}
