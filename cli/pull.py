"""`undegrade models pull|rm`: download bundles that a registry lists, and remove them."""

import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.console import print_json_line, print_lines, print_message, print_table
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import AcceptLicense
from cli.pull_files import fetch, files_in_manifest
from cli.pull_progress import CONVERT, PullProgress
from cli.pulled_bundles import PulledBundles, PullRecord
from cli.settings import settings
from models.errors import BundleError, ControlsError
from models.folders import SHIPPED, bundle_folders, pull_folder
from models.registry import SHIPPED_REGISTRY, Entry, Registry, read_registry
from models.registry_files import PLAIN_NAME, ListedFile

DTYPE_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


def pull(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A name in the registry.")] = None,
    registry: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Registry file. Default: UNDEGRADE_REGISTRY.")
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="List the entries of the registry, and which of them are installed.")
    ] = False,
    accept_license: AcceptLicense = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not use the network; list the missing files instead.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Download an installed bundle again, and replace it.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print progress and result, or the list, as JSON lines on stdout.")
    ] = False,
) -> None:
    """Download a bundle that a registry lists, or a checkpoint, which is then converted.

    Every file is checked against its SHA-256. An interrupted download continues when you run the same command again.

    Examples:

      undegrade models pull --list

      undegrade models pull maxim --accept-license

      undegrade models pull autodir --registry registry.toml --accept-license
    """
    with exit_on_error():
        env = settings()
        path = registry or (Path(env.registry) if env.registry else SHIPPED_REGISTRY)
        known, pulled = read_registry(path), PulledBundles(pull_folder())
        if list_all:
            _print_registry(known, path, pulled, as_json=as_json)
            return
        if name is None:
            raise ControlsError("no name given. `undegrade models pull --list` lists the names in the registry.")
        entry = known.find(name, path)
        with pulled.locked(
            name, on_wait=lambda: print_message(f"another process is downloading {name}; waiting for it")
        ):
            progress = PullProgress(as_json=as_json)
            if _already_installed(pulled, name, entry, force=force):
                progress.event("installed", name=name, folder=str(pulled.bundle(name)), already=True)
                return
            _require_acceptance(entry, accepted=accept_license)
            _pull(pulled, name, entry, path, progress, offline=offline or env.offline)


def rm(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A bundle that `undegrade models pull` downloaded.")],
) -> None:
    """Remove a downloaded bundle, or an unfinished download. Other bundles are kept.

    Example: undegrade models rm portraits
    """
    with exit_on_error():
        if not re.fullmatch(PLAIN_NAME, name):
            raise ControlsError(f"got {name!r}, expected a name that `undegrade models list` shows.")
        for folder in bundle_folders():
            pulled = PulledBundles(folder)
            if folder == SHIPPED or not (pulled.has(name) or pulled.downloads(name).is_dir()):
                continue
            with pulled.locked(name):
                if pulled.remove(name):
                    print_message(f"{pulled.bundle(name)} is removed")
                    return
        raise BundleError(f"{name} was not downloaded to this machine. `undegrade models list` lists all bundles.")


def _print_registry(known: Registry, path: Path, pulled: PulledBundles, *, as_json: bool) -> None:
    if as_json:
        for name, entry in sorted(known.models.items()):
            fields = entry.model_dump(include={"kind", "description", "license", "terms", "credit", "bytes"})
            installed = _installed(pulled, name)
            print_json_line({"name": name, **fields, "bytes": entry.bytes, "installed": installed})
        return
    if not known.models:
        print_message(
            f"the registry {path} is empty. Give another one with --registry or UNDEGRADE_REGISTRY (docs/models.md)."
        )
        return
    table = Table("name", "kind", "MB", "license", "installed", "description")
    for name, entry in sorted(known.models.items()):
        megabytes = f"{entry.bytes / 1e6:.1f}"
        table.add_row(name, entry.kind, megabytes, entry.license, _installed(pulled, name), entry.description)
    print_table(table)


def _installed(pulled: PulledBundles, name: str) -> str:
    return "yes" if pulled.has(name) else "partly" if pulled.downloads(name).is_dir() else "no"


def _already_installed(pulled: PulledBundles, name: str, entry: Entry, *, force: bool) -> bool:
    """Returns whether the bundle is installed, so that there is nothing to do; prints so.

    Raises:
        ControlsError: the folder exists and was not downloaded, so it must not be replaced.
    """
    folder, record = pulled.bundle(name), pulled.record(name)
    if force or not pulled.has(name):
        if folder.exists() and record is None:
            raise ControlsError(
                f"{folder} was not downloaded, so it is not replaced. Move it away, or set UNDEGRADE_BUNDLES."
            )
        return False
    current = record is None or {file.sha256 for file in entry.files} <= record.hashes()
    note = "" if current else ", but the registry lists another version. Give --force to download it."
    print_message(f"{folder} is already installed{note}")
    return True


def _require_acceptance(entry: Entry, *, accepted: bool) -> None:
    """Print the license terms.

    Raises:
        ControlsError: the user did not accept them, or the family cannot be converted.
    """
    print_lines(f"License: {entry.license}. {entry.terms}".rstrip())
    if entry.credit:
        print_lines(f"Credit: {entry.credit}")
    if entry.family is not None:
        from models.convert.license import TERMS

        if entry.family not in TERMS:
            raise ControlsError(f"the registry has family {entry.family!r}, expected one of {', '.join(TERMS)}.")
        print_lines(TERMS[entry.family].text)
    if not accepted:
        raise ControlsError("You must accept these terms. Give --accept-license to continue.")


def _pull(
    pulled: PulledBundles, name: str, entry: Entry, registry: Path, progress: PullProgress, *, offline: bool
) -> None:
    downloads = pulled.downloads(name)
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        files = fetch(entry.files, downloads, _extra_bytes(entry), progress, offline=offline)
        if entry.kind == "bundle":
            files += fetch(files_in_manifest(downloads, entry.files), downloads, 0, progress, offline=offline)
        made = _make_bundle(name, entry, downloads, files, progress)
        _keep_credit(made, entry)
    except KeyboardInterrupt:
        print_message("interrupted; the files received so far are kept. Run the same command to continue.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    record = PullRecord(
        registry=str(registry.resolve()), license=entry.license, credit=entry.credit,
        pulled_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=tuple(file.printable for file in files),
    )  # fmt: skip
    bundle = pulled.install(name, made, record)
    progress.event(
        "installed", name=name, folder=str(bundle), already=False, license=entry.license, credit=entry.credit
    )  # fmt: skip
    print_message(
        f"{bundle}: {len(files)} files downloaded and checked. Try it: undegrade restore photo.jpg --bundle {name}"
    )


def _keep_credit(made: Path, entry: Entry) -> None:
    """Write the registry's credit into the manifest if it states none, so that it stays with the bundle."""
    from models.bundle import read_manifest, write_manifest

    manifest = read_manifest(made)
    if entry.credit and not manifest.credit:
        write_manifest(made, manifest.model_copy(update={"credit": entry.credit}))


def _extra_bytes(entry: Entry) -> int:
    """Returns the disk space for what is unpacked or converted, beside the downloaded files."""
    if entry.kind == "checkpoint":
        return entry.bytes * DTYPE_BYTES[entry.dtype] // 4
    return entry.bytes if entry.kind == "archive" else 0


def _make_bundle(name: str, entry: Entry, downloads: Path, files: Sequence[ListedFile], progress: PullProgress) -> Path:
    """Make a bundle from the downloaded files and verify it.  Returns its folder, inside `downloads`.

    Raises:
        BundleError: the files are not a bundle, or the checkpoint cannot be converted.
    """
    from models.bundle import verify_bundle

    made = downloads / ".made" / name  # a converted bundle takes the name of its folder
    shutil.rmtree(made.parent, ignore_errors=True)
    if entry.family is not None:
        from models.convert.bundle_writer import DTYPES
        from models.convert.commands import CONVERTERS

        checkpoints = [downloads / file.name for file in files]
        with progress.stage(CONVERT, name) as on_bytes:
            CONVERTERS[entry.family](checkpoints, made, DTYPES[entry.dtype], on_bytes)
    elif entry.kind == "archive":
        from cli.unpack import unpack

        unpack(downloads / files[0].name, made)
        verify_bundle(made)
    else:
        verify_bundle(downloads)
        made.mkdir(parents=True)
        for file in files:
            (downloads / file.name).replace(made / file.name)
    return made
