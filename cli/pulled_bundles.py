"""The folder of downloaded bundles: complete bundles under their names, unfinished downloads in `.downloads`.

A downloaded bundle contains pulled.json, which records its origin.  Bundles without it are never replaced or removed.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import BundleError, ControlsError
from models.folders import MANIFEST
from models.registry import RECORD
from models.registry_files import ListedFile


class PullRecord(BaseModel):
    """The content of pulled.json."""

    model_config = ConfigDict(frozen=True)

    registry: str
    license: str
    credit: str = ""
    pulled_at: str
    files: tuple[ListedFile, ...]

    def hashes(self) -> set[str]:
        return {file.sha256 for file in self.files}


class PulledBundles:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bundle(self, name: str) -> Path:
        """Returns the folder of a bundle, which may not exist."""
        return self.folder / name

    def downloads(self, name: str) -> Path:
        """Returns the folder for the downloads of a bundle, which may not exist."""
        return self.folder / ".downloads" / name

    def has(self, name: str) -> bool:
        return (self.bundle(name) / MANIFEST).is_file()

    def record(self, name: str) -> PullRecord | None:
        """Returns the origin of a bundle, or None if `pull` did not put it there."""
        try:
            return PullRecord.model_validate_json((self.bundle(name) / RECORD).read_bytes())
        except (OSError, ValidationError):
            return None

    @contextmanager
    def locked(self, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Lock a name against other processes.  With `on_wait`, call it and wait if another process has the lock.

        Raises:
            ControlsError: another process has the lock and `on_wait` is None, or the user has no home folder.
        """
        if not self.folder.is_absolute() and self.folder.parts[0] == "~":
            raise ControlsError("this user has no home folder. Set UNDEGRADE_BUNDLES to a folder for bundles.")
        self.downloads(name).parent.mkdir(parents=True, exist_ok=True)
        # The lock file is never removed, or a waiting process would lock a file that new processes do not see
        with self.downloads(name).with_name(name + ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    raise ControlsError(f"{name} is being downloaded. Stop the download, or wait for it.") from None
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def install(self, name: str, made: Path, record: PullRecord) -> Path:
        """Move a complete folder to its name, replace a downloaded bundle of that name, and delete the downloads."""
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
        """Remove a downloaded bundle and its unfinished download.  Returns whether there was one.

        Raises:
            BundleError: `pull` did not put the bundle there.
        """
        target, downloads = self.bundle(name), self.downloads(name)
        if target.exists() and self.record(name) is None:
            raise BundleError(
                f"{target} was not downloaded with `undegrade models pull`, so it is kept. Remove the folder yourself."
            )
        found = target.exists() or downloads.exists()
        if target.exists():  # rename first, so that no process sees half a bundle
            downloads.mkdir(parents=True, exist_ok=True)
            target.replace(downloads / ".removed")
        shutil.rmtree(downloads, ignore_errors=True)
        return found
