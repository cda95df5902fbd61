"""Writes a file that appears complete or not at all, never more open than what it was made from."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from models.errors import PhotoError

PERMISSIONS = 0o777


def write_atomically(path: Path, data: bytes, sources: Sequence[Path] = ()) -> None:
    """Write a temporary file beside the target and rename it, so that an interruption leaves no partial file.

    A link stays a link: the file that it names is replaced.

    Args:
        sources: the files that `data` was made from.  Whoever cannot read one of them cannot read the result.

    Raises:
        PhotoError: the folder or file cannot be written.
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    partial = target.with_name(f".{secrets.token_hex(8)}.part")  # short: the target's name may have 255 bytes
    try:
        if os.path.islink(target):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(partial, data, target, sources)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror}. Give -o another place.") from error


def _write(partial: Path, data: bytes, target: Path, sources: Sequence[Path]) -> None:
    """Write and sync the temporary file; only its owner can read it before it has its final permissions."""
    replaced = _status(target)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        if replaced is not None:
            with contextlib.suppress(OSError):  # only root may give a file to somebody else
                os.fchown(file.fileno(), replaced.st_uid, replaced.st_gid)
        os.fchmod(file.fileno(), _permissions(replaced, sources))
        os.fsync(file.fileno())


def _permissions(replaced: os.stat_result | None, sources: Sequence[Path]) -> int:
    """Returns those of the replaced file, or else the usual ones, without any that a source lacks."""
    permissions = PERMISSIONS & replaced.st_mode if replaced is not None else 0o666 & ~_umask()
    for source in sources:
        status = _status(source)
        if status is not None and stat.S_ISREG(status.st_mode):  # a pipe's permissions say nothing about its content
            permissions &= status.st_mode
    return permissions


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _umask() -> int:
    umask = os.umask(0o077)  # it can only be read by setting it
    os.umask(umask)
    return umask
