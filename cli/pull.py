"""`undegrade models pull|rm`: bundles from where a registry says they are, whole or not at all."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from cli.console import Exit, complain, is_terminal, print_table, say, sentences, stderr
from cli.pulled_bundles import Record, Shelf
from cli.settings import settings
from models.errors import BundleError, ControlsError
from models.folders import MANIFEST, SHIPPED, bundle_folders, pull_folder
from models.registry import PLAIN_NAME, SHIPPED_REGISTRY, Entry, Registry, RemoteFile, read_registry

if TYPE_CHECKING:
    from cli.download import OnProgress

WIDTH_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


def pull(
    name: Annotated[str | None, typer.Argument(help="A name in the registry.")] = None,
    registry: Annotated[Path | None, typer.Option(help="A registry file; default: UNDEGRADE_REGISTRY.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Show what the registry has, and what is here.")] = False,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="You have read the terms that the command prints.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network; say what is missing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch it although it is here, and replace it.")] = False,
) -> None:
    """Fetch a bundle, or a checkpoint that is then converted, from where the registry says it is.

    What was interrupted goes on where it stopped; every file's sha256 is checked while it arrives.

    Examples:

      undegrade models pull --list

      undegrade models pull autodir --registry registry.toml --accept-license
    """
    with sentences():
        told = settings()
        path = registry or (Path(told.registry) if told.registry else SHIPPED_REGISTRY)
        known, shelf = read_registry(path), Shelf(pull_folder())
        if list_all:
            _list(known, path, shelf)
            return
        if name is None:
            raise ControlsError("say what to pull. `undegrade models pull --list` shows what the registry has.")
        entry = known.find(name, path)
        with shelf.locked(name, on_wait=lambda: say(f"another process is fetching {name}; waiting for it")):
            if _is_here(shelf, name, entry, force=force):
                return
            _accept(entry, accepted=accept_license)
            _pull(shelf, name, entry, path, offline=offline or told.offline)


def rm(name: Annotated[str, typer.Argument(help="A bundle that was fetched with `models pull`.")]) -> None:
    """Remove a bundle that was fetched, and what is under way of it; bundles that were put there otherwise stay."""
    with sentences():
        if not re.fullmatch(PLAIN_NAME, name):
            raise ControlsError(f"got {name!r}, expected a name that `undegrade models list` shows.")
        for folder in bundle_folders():
            shelf = Shelf(folder)
            if folder == SHIPPED or not (shelf.holds(name) or shelf.downloads(name).is_dir()):
                continue
            with shelf.locked(name):
                if shelf.remove(name):
                    say(f"{shelf.bundle(name)} is removed")
                    return
        raise BundleError(f"{name} was never fetched here. `undegrade models list` shows the bundles on this machine.")


def _list(known: Registry, path: Path, shelf: Shelf) -> None:
    if not known.models:
        say(f"the registry {path} has nothing. Give one with --registry or UNDEGRADE_REGISTRY (docs/models.md).")
        return
    table = Table("name", "kind", "MiB", "license", "here", "what it is")
    for name, entry in sorted(known.models.items()):
        here = "yes" if shelf.holds(name) else "begun" if shelf.downloads(name).is_dir() else "no"
        table.add_row(name, entry.kind, f"{entry.bytes / 2**20:.1f}", entry.license, here, entry.description)
    print_table(table)


def _is_here(shelf: Shelf, name: str, entry: Entry, *, force: bool) -> bool:
    """Whether there is nothing to do, which is said.

    Raises:
        ControlsError: something is there that `--force` may not replace.
    """
    there, record = shelf.bundle(name), shelf.record(name)
    if force or not shelf.holds(name):
        if there.exists() and record is None:
            raise ControlsError(f"{there} was not fetched, so it is not replaced. Move it away, or pull elsewhere.")
        return False
    fits = record is None or {file.sha256 for file in entry.files} <= record.hashes()
    say(f"{there} is here already" + ("" if fits else ", but the registry has another one. --force fetches that."))
    return True


def _accept(entry: Entry, *, accepted: bool) -> None:
    """Print the terms.

    Raises:
        ControlsError: they are not accepted, or of a family that cannot be converted.
    """
    say(f"License: {entry.license}. {entry.terms}".rstrip())
    if entry.family is not None:
        from models.convert.license import TERMS

        if entry.family not in TERMS:
            raise ControlsError(f"the registry says family {entry.family!r}, expected one of {', '.join(TERMS)}.")
        say(TERMS[entry.family].text)
    if not accepted:
        raise ControlsError("these terms want your word. Give --accept-license to go on.")


def _pull(shelf: Shelf, name: str, entry: Entry, registry: Path, *, offline: bool) -> None:
    downloads = shelf.downloads(name)
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        files = _fetch(entry.files, downloads, _extra_bytes(entry), offline=offline)
        if entry.kind == "bundle":
            files += _fetch(_rest(downloads, entry.files), downloads, 0, offline=offline)
        made = _made(name, entry, downloads, files)
    except KeyboardInterrupt:
        say("interrupted; what has arrived is kept, and the same command goes on with it")
        raise typer.Exit(Exit.INTERRUPTED) from None
    record = Record(
        registry=str(registry.resolve()), license=entry.license,
        pulled_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=tuple(file.model_copy(update={"url": file.place}) for file in files),
    )  # fmt: skip
    bundle = shelf.put(name, made, record)
    say(f"{bundle}: {len(files)} files fetched and checked. Try it: undegrade restore PHOTO --bundle {name}")


def _extra_bytes(entry: Entry) -> int:
    """What is made of the files takes room beside them."""
    if entry.kind == "checkpoint":
        return entry.bytes * WIDTH_BYTES[entry.dtype] // 4
    return entry.bytes if entry.kind == "archive" else 0


def _fetch(files: Sequence[RemoteFile], folder: Path, extra_bytes: int, *, offline: bool) -> list[RemoteFile]:
    """Bring all files into the folder; returns them.

    Raises:
        BundleError: the disk is too small, a file is another one, or some are missing and `offline`.
    """
    from cli.download import arrived

    missing = [file for file in files if not arrived(file, folder / file.name)]
    if missing and offline:
        wanted = "; ".join(f"{file.name} ({file.bytes} bytes) from {file.place}" for file in missing)
        raise BundleError(
            f"offline (--offline, UNDEGRADE_OFFLINE), and missing: {wanted}. Bring it to {folder} and run this again."
        )
    begun = sum(part.stat().st_size for file in missing if (part := folder / f"{file.name}.part").is_file())
    needed = sum(file.bytes for file in missing) - begun + extra_bytes
    if (free := shutil.disk_usage(folder).free) < needed * 1.01:
        raise BundleError(
            f"{folder} has {free / 1e9:.2f} GB free, expected {needed / 1e9:.2f}. Make room, or set UNDEGRADE_BUNDLES."
        )
    _download(missing, folder)
    return list(files)


def _download(files: Sequence[RemoteFile], folder: Path) -> None:
    """One after the other; exit 5 where a server does not give one."""
    from cli.download import DownloadError, download, open_client

    try:
        with open_client() as client:
            for file in files:
                say(f"fetching {file.name}, {file.bytes / 2**20:.1f} MiB, from {file.place}")
                with _bar(file.name) as on_progress:
                    download(client, file, folder / file.name, on_progress, say)
    except DownloadError as error:
        complain(str(error))
        raise typer.Exit(Exit.SERVER) from None


def _rest(folder: Path, listed: Sequence[RemoteFile]) -> list[RemoteFile]:
    """The files that a bundle's manifest names and the registry does not; they lie beside it.

    Raises:
        BundleError: the manifest is none, or has a file's name that is a path.
    """
    from models.bundle import read_manifest

    here = next(file for file in listed if file.name == MANIFEST)
    names = {file.name for file in listed}
    try:
        return [
            here.beside(name, file.sha256, file.bytes)
            for name, file in read_manifest(folder).files.items()
            if name not in names
        ]
    except ValueError as error:
        raise BundleError(f"{here.place} names a file that is no plain name. It is no bundle of ours.") from error


def _made(name: str, entry: Entry, downloads: Path, files: Sequence[RemoteFile]) -> Path:
    """The bundle, checked, in a folder beside its downloads.

    Raises:
        BundleError: the files are no bundle, or the checkpoint cannot be converted.
    """
    from models.bundle import verify_bundle

    made = downloads / ".made" / name  # a converted bundle is called as its folder is
    shutil.rmtree(made.parent, ignore_errors=True)
    if entry.family is not None:
        from models.convert.bundle_writer import DTYPES
        from models.convert.commands import CONVERTERS

        checkpoints = [downloads / file.name for file in files]
        with _bar(f"converting {', '.join(file.name for file in files)}") as on_progress:
            CONVERTERS[entry.family](checkpoints, made, DTYPES[entry.dtype], on_progress)
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


@contextmanager
def _bar(title: str) -> "Iterator[OnProgress]":
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=stderr, transient=True, disable=not is_terminal()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
