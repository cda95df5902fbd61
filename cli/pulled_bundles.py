"""The folder of fetched bundles: bundles that are whole under their names, what is under way in `.downloads`.

A bundle that was fetched holds pulled.json, which says from where; only such a one is ever replaced or removed.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import BundleError, ControlsError
from models.folders import MANIFEST
from models.registry import RECORD, RemoteFile


class Record(BaseModel):
    """pulled.json."""

    model_config = ConfigDict(frozen=True)

    registry: str
    license: str
    pulled_at: str
    files: tuple[RemoteFile, ...]

    def hashes(self) -> set[str]:
        return {file.sha256 for file in self.files}


class Shelf:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bundle(self, name: str) -> Path:
        """Where the bundle is, or would be."""
        return self.folder / name

    def downloads(self, name: str) -> Path:
        """Where its files arrive."""
        return self.folder / ".downloads" / name

    def holds(self, name: str) -> bool:
        return (self.bundle(name) / MANIFEST).is_file()

    def record(self, name: str) -> Record | None:
        """Where the bundle was fetched from; None if somebody else put it there."""
        try:
            return Record.model_validate_json((self.bundle(name) / RECORD).read_bytes())
        except (OSError, ValidationError):
            return None

    @contextmanager
    def locked(self, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Keep other processes from this name; they wait if they told `on_wait` what to say meanwhile.

        Raises:
            ControlsError: somebody has it and waiting was not wanted, or there is no home to put things.
        """
        if not self.folder.is_absolute() and self.folder.parts[0] == "~":
            raise ControlsError("this user has no home folder. Set UNDEGRADE_BUNDLES to the folder for bundles.")
        self.downloads(name).parent.mkdir(parents=True, exist_ok=True)
        # The file stays: were it removed, a waiting process would hold the lock of a file that nobody else sees
        with self.downloads(name).with_name(name + ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    raise ControlsError(f"{name} is being fetched right now. Stop that first, or wait.") from None
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def put(self, name: str, made: Path, record: Record) -> Path:
        """Give a finished folder its name, in place of a fetched bundle that has it, and drop the downloads."""
        (made / RECORD).write_text(record.model_dump_json(indent=2) + "\n")
        target, old = self.bundle(name), self.downloads(name) / ".replaced"
        if target.exists():
            target.replace(old)
        try:
            made.replace(target)
        except OSError:
            if old.exists():
                old.replace(target)
            raise
        shutil.rmtree(self.downloads(name), ignore_errors=True)
        return target

    def remove(self, name: str) -> bool:
        """Remove a fetched bundle and what is under way of it; whether there was anything.

        Raises:
            BundleError: the bundle was not fetched.
        """
        target, downloads = self.bundle(name), self.downloads(name)
        if target.exists() and self.record(name) is None:
            raise BundleError(f"{target} was not fetched with `models pull`, so it stays. Remove the folder yourself.")
        found = target.exists() or downloads.exists()
        if target.exists():  # it leaves its name at once, so that nobody meets half of it
            downloads.mkdir(parents=True, exist_ok=True)
            target.replace(downloads / ".removed")
        shutil.rmtree(downloads, ignore_errors=True)
        return found
