"""`undegrade models`: the bundles on this machine.  cli/pull.py has pull and rm, cli/convert.py convert and check."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.console import print_error, print_message, print_table
from cli.convert import check, convert
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import Device
from cli.pull import pull, rm
from cli.settings import settings
from jobs.json_log import json_text
from models.errors import BundleError, ControlsError
from models.folders import bundle_folders
from models.vocabulary import CLEAN

app = typer.Typer(
    add_completion=False, help="List, inspect, verify, download, remove and convert bundles.", no_args_is_help=True
)

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="Name or folder of a bundle. Default: UNDEGRADE_BUNDLE, or else autodir-small."
    ),
]


@app.command("list")
def list_all() -> None:
    """List all bundles with family, version, size and the degradations they repair."""
    with exit_on_error():
        from models.bundle import list_bundles, read_manifest

        table, damaged = Table("name", "family", "version", "MB", "repairs"), 0
        for bundle in list_bundles():
            try:
                manifest = read_manifest(bundle)
            except BundleError as error:
                damaged += 1
                print_error(str(error))
                continue
            size_bytes = sum(file.bytes for file in manifest.files.values())
            repairs = ", ".join(entry.name for entry in manifest.degradations if entry.name != CLEAN)
            table.add_row(bundle.name, manifest.family, manifest.version, f"{size_bytes / 1e6:.1f}", repairs)
        if table.rows:
            print_table(table)
        elif not damaged:
            print_message(f"no bundles in {', '.join(str(folder) for folder in bundle_folders())}")
    if damaged:
        raise typer.Exit(ExitCode.MODEL)


@app.command()
def show(name: Name = None) -> None:
    """Print a bundle's manifest as JSON: networks, prompts, files, license, training data."""
    with exit_on_error():
        from models.bundle import find_bundle, read_manifest

        manifest = read_manifest(find_bundle(name or settings().default_bundle))
        sys.stdout.write(json_text(json.loads(manifest.model_dump_json()), indent=2) + "\n")


@app.command()
def verify(
    name: Name = None,
    pairs: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="With --golden: a benchmark (TASK/lq/NAME and TASK/gt/NAME), or recorded outputs."
        ),
    ] = None,
    golden: Annotated[
        bool,
        typer.Option(
            "--golden", help="Also restore the golden image; with DIR, compare PSNR with that in the system's paper."
        ),
    ] = False,
    device: Device = None,
    crop: Annotated[
        int, typer.Option(min=0, help="Largest side of the center crops in pixels; 0 measures whole images.")
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of pairs per benchmark.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON lines on stdout.")] = False,
) -> None:
    """Check the size and SHA-256 of every file of a bundle; exit code 3 if one differs.

    With --golden, also check what it computes: exit code 4 if the golden image differs from the recorded result, and 1
    if a PSNR differs from the published one.

    Examples:

      undegrade models verify autodir-small

      undegrade models verify maxim --golden ../shared/eval
    """
    with exit_on_error():
        from models.bundle import find_bundle, read_manifest, verify_bundle

        if pairs is not None and not golden:
            raise ControlsError(f"got {pairs} without --golden. Give --golden to compare with published figures.")
        bundle = find_bundle(name or settings().default_bundle)
        verify_bundle(bundle)
        manifest, differs = read_manifest(bundle), False
        print_message(f"{bundle}: all {len(manifest.files)} files match the manifest")
        if golden:
            from cli.golden import GoldenOptions, check_recorded, compare_with_paper, compare_with_vectors
            from models.evaluation.recorded_outputs import vector_files

            options = GoldenOptions(device=device, crop_px=crop, limit=limit, as_json=as_json)
            if pairs is None:
                check_recorded(bundle, manifest, device)
            else:
                compare = compare_with_vectors if vector_files(pairs) else compare_with_paper
                differs = compare(bundle, manifest, pairs, options)
    if differs:
        raise typer.Exit(ExitCode.SOME_FAILED)


for command in (pull, rm, convert, check):
    app.command()(command)
