"""Keeps the files of `serve` to its user: pictures and API keys' hashes lie in them."""

import contextlib
import os
import stat
from pathlib import Path

from models.errors import ControlsError

REMEDY = "Give --data (or UNDEGRADE_DATA) a folder that this user can write."
OURS = ("lock", "socket", "valkey.log", "appendonlydir")
"""What `serve` puts into its data folder."""


def keep_new_files_private() -> None:
    """Let this process and its children create files that only their user can open."""
    os.umask(0o077)


def default_folder(port: int) -> Path:
    """Returns the default data folder of `serve` on this port (XDG base directories).

    Raises:
        ControlsError: the user has no home.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # the specification: a relative path is ignored
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            raise ControlsError(f"there is no default data folder, because this user has no home. {REMEDY}")
        state = os.path.join(home, ".local", "state")
    return Path(state) / "undegrade" / f"serve-{port}"


def make_private(folder: Path) -> None:
    """Create the data folder for its user alone; one of an earlier version, which was open, is closed.

    Permissions of a folder with other things in it stay as they are: it may be /tmp.

    Raises:
        ControlsError: the folder cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = {entry.name for entry in folder.iterdir()}
        if names <= set(OURS):
            _close(folder)
        for name in names & set(OURS):
            _close(folder / name)
            if name == "appendonlydir":
                for file in (folder / name).iterdir():
                    _close(file)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise ControlsError(f"cannot use the data folder {folder}: {error.strerror}. {REMEDY}") from error


def _close(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_IMODE(mode) & 0o077:
        with contextlib.suppress(PermissionError):  # a volume's folder may belong to root
            path.chmod(stat.S_IMODE(mode) & ~0o077)
