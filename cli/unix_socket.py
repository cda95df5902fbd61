"""Listens on a Unix socket, for a proxy on the same machine.

A lock beside the socket (`PATH.lock`) tells two servers apart from one that was killed: the socket of a dead server is
replaced, that of a living one is not.
"""

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.listening import BACKLOG, ListenError

MAX_PATH_BYTES = 107
"""The kernel's limit for the path of a socket."""
DEFAULT_MODE = "660"


def socket_mode(text: str) -> int:
    """Return the permissions of a socket, from an octal number such as "660".

    Raises:
        ValueError: another form.
    """
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"got the mode {text!r}, expected three octal digits, such as 660")
    return int(text, 8)


@contextmanager
def listen_on_socket(path: Path, mode: int) -> Iterator[list[socket.socket]]:
    """Listen on a socket with these permissions, and remove it at the end.

    Raises:
        ListenError: another server listens on it, or the path cannot be used.
    """
    path = path.absolute()
    try:
        with _lock(path), contextlib.closing(_bind(path, mode)) as entry:
            inode = path.stat().st_ino
            try:
                yield [entry]
            finally:
                with contextlib.suppress(OSError):
                    if path.stat().st_ino == inode:
                        path.unlink()
    except _Refused as error:
        raise ListenError(f"cannot listen on {path}: {error}") from error


class _Refused(Exception):
    """Why a path cannot be used, and what to do."""


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise _Refused(f"the path has more than {MAX_PATH_BYTES} bytes. Give a shorter --unix-socket.")
    name = path.with_name(f"{path.name}.lock")
    try:
        descriptor = _locked_file(name)
    except BlockingIOError:
        raise _Refused("another server listens on it. Stop that one, or give another --unix-socket.") from None
    except OSError as error:
        remedy = "Give a --unix-socket in a folder that exists and that this user may write."
        raise _Refused(f"{error.strerror} ({name.parent}). {remedy}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            name.unlink()
        os.close(descriptor)


def _locked_file(name: Path) -> int:
    while True:
        descriptor = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(name).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner has removed it meanwhile


def _bind(path: Path, mode: int) -> socket.socket:
    _remove_stale(path)
    entry = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        entry.bind(str(path))
        path.chmod(mode)  # before `listen`: until then, nobody can connect
        entry.listen(BACKLOG)
        entry.setblocking(False)
    except OSError as error:
        entry.close()
        raise _Refused(f"{error.strerror}. Give another --unix-socket.") from error
    return entry


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that was killed; refuse that of a living one, and any other file."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise _Refused("the path is a file that is not a socket. Give another --unix-socket.")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        error = probe.connect_ex(str(path))
    if error not in (errno.ECONNREFUSED, errno.ENOENT):
        raise _Refused("another program listens on it. Stop that one, or give another --unix-socket.")
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
