"""`undegrade models list|show|verify|pull|rm|convert|check`: the bundles on this machine, and where they come from."""

import sys
from typing import Annotated

import typer
from rich.table import Table

from cli.console import Exit, complain, print_table, say, sentences
from cli.convert import check, convert
from cli.pull import pull, rm
from cli.settings import settings
from models.errors import BundleError
from models.folders import bundle_folders
from models.vocabulary import CLEAN

app = typer.Typer(
    help="The bundles on this machine: list, show, verify, pull, rm, convert, check.", no_args_is_help=True
)
app.command()(pull)
app.command()(rm)
app.command()(convert)
app.command()(check)

Name = Annotated[str | None, typer.Argument(help="A bundle's name or folder; the default one when left out.")]


@app.command("list")
def list_all() -> None:
    """Every bundle with its family, version, size and what it can repair."""
    with sentences():
        from models.bundle import list_bundles, read_manifest

        table, damaged = Table("name", "family", "version", "MiB", "repairs"), 0
        for bundle in list_bundles():
            try:
                manifest = read_manifest(bundle)
            except BundleError as error:
                damaged += 1
                complain(str(error))
                continue
            size = sum(file.bytes for file in manifest.files.values()) / 2**20
            repairs = ", ".join(entry.name for entry in manifest.degradations if entry.name != CLEAN)
            table.add_row(bundle.name, manifest.family, manifest.version, f"{size:.1f}", repairs)
        if table.rows:
            print_table(table)
        elif not damaged:
            say(f"no bundles in {', '.join(str(folder) for folder in bundle_folders())}")
    if damaged:
        raise typer.Exit(Exit.MODEL)


@app.command()
def show(name: Name = None) -> None:
    """A bundle's manifest as JSON: networks, prompts, files, license, what it was trained on."""
    with sentences():
        from models.bundle import find_bundle, read_manifest

        manifest = read_manifest(find_bundle(name or settings().default_bundle))
        sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")


@app.command()
def verify(name: Name = None) -> None:
    """Check every file's size and sha256; exit 3 names the first that differs."""
    with sentences():
        from models.bundle import find_bundle, read_manifest, verify_bundle

        bundle = find_bundle(name or settings().default_bundle)
        verify_bundle(bundle)
        say(f"{bundle}: {len(read_manifest(bundle).files)} files are as the manifest says")
