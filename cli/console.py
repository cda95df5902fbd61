"""How the command talks: data to stdout, everything else to stderr, and one exit code for each kind of trouble.

0 done · 1 some files failed · 2 usage · 3 model · 4 device or memory · 5 server or auth · 130 interrupted
"""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich.console import Console

from cli.settings import debugging
from models.errors import BundleError, ControlsError, DeviceError, ModelsError, PhotoError

TABLE_COLUMNS = 110


class Exit(IntEnum):
    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    MODEL = 3
    DEVICE = 4
    SERVER = 5
    INTERRUPTED = 130


CODES: tuple[tuple[type[BaseException], Exit], ...] = (
    (PhotoError, Exit.SOME_FAILED), (BundleError, Exit.MODEL), (DeviceError, Exit.DEVICE), (MemoryError, Exit.DEVICE),
    (ControlsError, Exit.USAGE), (ModelsError, Exit.MODEL),
)  # fmt: skip

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    stderr.print(text, markup=False)


def warn(text: str) -> None:
    stderr.print(f"warning: {text}", style="yellow", markup=False)


def complain(text: str) -> None:
    stderr.print(f"error: {text}", style="red", markup=False)


def code_of(error: BaseException) -> Exit:
    """The exit code that an error means when it ends the command."""
    return next((code for kind, code in CODES if isinstance(error, kind)), Exit.SOME_FAILED)


def end(failures: list[Exit], count: int) -> None:
    """Leave with the exit code of a run over `count` photos: where all failed for one reason, that reason's.

    Raises:
        typer.Exit: some failed.
    """
    if failures and count > 1:
        complain(f"{len(failures)} of {count} photos failed")
    if failures:
        alike = len(failures) == count and len(set(failures)) == 1
        raise typer.Exit(failures[0] if alike else Exit.SOME_FAILED)


@contextmanager
def sentences() -> Iterator[None]:
    """Turn an error that ends the command into a sentence and its exit code; UNDEGRADE_DEBUG=1 shows the traceback."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept, no half file was left")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except ModelsError as error:
        if debugging():
            raise
        complain(str(error))
        raise typer.Exit(code_of(error)) from None
    except OSError as error:
        if debugging() or error.errno == errno.EPIPE:  # whoever read the pipe has left; typer ends quietly
            raise
        complain(f"cannot use {error.filename or 'standard input or output'}: {error.strerror or error}.")
        raise typer.Exit(code_of(error)) from None


def is_terminal() -> bool:
    """Whether somebody watches, so that a bar is worth drawing."""
    return sys.stderr.isatty()


def refuse_terminal(what: str) -> None:
    """Bytes of a picture on a screen help nobody.

    Raises:
        ControlsError: stdout is a terminal.
    """
    if sys.stdout.isatty():
        raise ControlsError(f"{what} would go to the terminal. Send it on with > or |, or give -o a file.")


def print_table(table: object) -> None:
    """To stdout; a file or a pipe has no width of its own, and rich would cut the table at 80."""
    stdout.width = stdout.width if stdout.is_terminal else max(stdout.width, TABLE_COLUMNS)
    stdout.print(table)
