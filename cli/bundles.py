"""`undegrade models`: the bundles on this machine.  cli/pull.py has pull and rm, cli/convert.py convert and check."""

import json
import sys
from typing import Annotated

import typer
from rich.table import Table

from cli.console import print_error, print_message, print_table
from cli.convert import check, convert
from cli.exit_codes import ExitCode, exit_on_error
from cli.pull import pull, rm
from cli.settings import settings
from jobs.json_log import json_text
from models.errors import BundleError
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
def verify(name: Name = None) -> None:
    """Check the size and SHA-256 of every file of a bundle; exit code 3 if one differs."""
    with exit_on_error():
        from models.bundle import find_bundle, read_manifest, verify_bundle

        bundle = find_bundle(name or settings().default_bundle)
        verify_bundle(bundle)
        print_message(f"{bundle}: all {len(read_manifest(bundle).files)} files match the manifest")


for command in (pull, rm, convert, check):
    app.command()(command)
