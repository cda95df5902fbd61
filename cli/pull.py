"""`undegrade models pull|rm`: download bundles that a registry lists, and remove them."""

import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.console import print_error, print_lines, print_message, print_table
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import AcceptLicense
from cli.progress import byte_progress
from cli.pulled_bundles import PulledBundles, PullRecord
from cli.settings import settings
from models.errors import BundleError, ControlsError
from models.folders import MANIFEST, SHIPPED, bundle_folders, pull_folder
from models.registry import PLAIN_NAME, SHIPPED_REGISTRY, Entry, Registry, RemoteFile, read_registry

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
) -> None:
    """Download a bundle that a registry lists, or a checkpoint, which is then converted.

    Every file is checked against its SHA-256. An interrupted download continues when you run the same command again.

    Examples:

      undegrade models pull --list

      undegrade models pull autodir --registry registry.toml --accept-license
    """
    with exit_on_error():
        env = settings()
        path = registry or (Path(env.registry) if env.registry else SHIPPED_REGISTRY)
        known, pulled = read_registry(path), PulledBundles(pull_folder())
        if list_all:
            _print_registry(known, path, pulled)
            return
        if name is None:
            raise ControlsError("no name given. `undegrade models pull --list` lists the names in the registry.")
        entry = known.find(name, path)
        with pulled.locked(
            name, on_wait=lambda: print_message(f"another process is downloading {name}; waiting for it")
        ):
            if _already_installed(pulled, name, entry, force=force):
                return
            _require_acceptance(entry, accepted=accept_license)
            _pull(pulled, name, entry, path, offline=offline or env.offline)


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


def _print_registry(known: Registry, path: Path, pulled: PulledBundles) -> None:
    if not known.models:
        print_message(
            f"the registry {path} is empty. Give another one with --registry or UNDEGRADE_REGISTRY (docs/models.md)."
        )
        return
    table = Table("name", "kind", "MB", "license", "installed", "description")
    for name, entry in sorted(known.models.items()):
        installed = "yes" if pulled.has(name) else "partly" if pulled.downloads(name).is_dir() else "no"
        table.add_row(name, entry.kind, f"{entry.bytes / 1e6:.1f}", entry.license, installed, entry.description)
    print_table(table)


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
    if entry.family is not None:
        from models.convert.license import TERMS

        if entry.family not in TERMS:
            raise ControlsError(f"the registry has family {entry.family!r}, expected one of {', '.join(TERMS)}.")
        print_lines(TERMS[entry.family].text)
    if not accepted:
        raise ControlsError("You must accept these terms. Give --accept-license to continue.")


def _pull(pulled: PulledBundles, name: str, entry: Entry, registry: Path, *, offline: bool) -> None:
    downloads = pulled.downloads(name)
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        files = _fetch(entry.files, downloads, _extra_bytes(entry), offline=offline)
        if entry.kind == "bundle":
            files += _fetch(_files_in_manifest(downloads, entry.files), downloads, 0, offline=offline)
        made = _make_bundle(name, entry, downloads, files)
    except KeyboardInterrupt:
        print_message("interrupted; the files received so far are kept. Run the same command to continue.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    record = PullRecord(
        registry=str(registry.resolve()), license=entry.license,
        pulled_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=tuple(file.model_copy(update={"url": file.place}) for file in files),
    )  # fmt: skip
    bundle = pulled.install(name, made, record)
    print_message(
        f"{bundle}: {len(files)} files downloaded and checked. Try it: undegrade restore photo.jpg --bundle {name}"
    )


def _extra_bytes(entry: Entry) -> int:
    """Returns the disk space for what is unpacked or converted, beside the downloaded files."""
    if entry.kind == "checkpoint":
        return entry.bytes * DTYPE_BYTES[entry.dtype] // 4
    return entry.bytes if entry.kind == "archive" else 0


def _fetch(files: Sequence[RemoteFile], folder: Path, extra_bytes: int, *, offline: bool) -> list[RemoteFile]:
    """Download the files that are not in the folder yet.  Returns all files.

    Raises:
        BundleError: the disk is too small, a file has the wrong hash, or files are missing and `offline` is set.
    """
    from cli.download import is_complete

    missing = [file for file in files if not is_complete(file, folder / file.name)]
    if missing and offline:
        names = "; ".join(f"{file.name} ({file.bytes} bytes) from {file.place}" for file in missing)
        raise BundleError(
            f"offline (--offline or UNDEGRADE_OFFLINE), and missing: {names}. "
            f"Copy it to {folder} and run the same command again."
        )
    partial_bytes = sum(part.stat().st_size for file in missing if (part := folder / f"{file.name}.part").is_file())
    needed = sum(file.bytes for file in missing) - partial_bytes + extra_bytes
    if (free := shutil.disk_usage(folder).free) < needed * 1.01:
        raise BundleError(
            f"{folder} has {free / 1e9:.2f} GB free, expected {needed / 1e9:.2f}. "
            "Free some space, or set UNDEGRADE_BUNDLES to a folder on another disk."
        )
    _download(missing, folder)
    return list(files)


def _download(files: Sequence[RemoteFile], folder: Path) -> None:
    """Download files one after the other.

    Raises:
        typer.Exit: a server does not deliver a file; the message is printed.
    """
    from cli.download import DownloadError, download, open_client

    try:
        with open_client() as client:
            for file in files:
                print_message(f"downloading {file.name}, {file.bytes / 1e6:.1f} MB, from {file.place}")
                with byte_progress(file.name) as on_bytes:
                    download(client, file, folder / file.name, on_bytes, print_message)
    except DownloadError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.SERVER) from None


def _files_in_manifest(folder: Path, listed: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Returns the files that the manifest names and the registry does not.  They have the manifest's URL folder.

    Raises:
        BundleError: the manifest is invalid, or the name of a file is a path.
    """
    from models.bundle import read_manifest

    manifest = next(file for file in listed if file.name == MANIFEST)
    names = {file.name for file in listed}
    try:
        return [
            manifest.beside(name, file.sha256, file.bytes)
            for name, file in read_manifest(folder).files.items()
            if name not in names
        ]
    except ValueError as error:
        raise BundleError(f"{manifest.place} names a file with a path, expected a plain file name.") from error


def _make_bundle(name: str, entry: Entry, downloads: Path, files: Sequence[RemoteFile]) -> Path:
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
        with byte_progress(f"converting {', '.join(file.name for file in files)}") as on_bytes:
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
