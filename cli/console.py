"""Output and exit codes of the command: data goes to stdout, everything else to stderr.

`EXIT_CODES` has an exit code for each kind of error.
"""

import errno
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich.console import Console

from cli.settings import debug_enabled
from models.errors import BundleError, ControlsError, DeviceError, ModelsError, PhotoError

PIPED_TABLE_COLUMNS = 110


class ExitCode(IntEnum):
    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    MODEL = 3
    DEVICE = 4
    SERVER = 5
    INTERRUPTED = 130


EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "success",
    ExitCode.SOME_FAILED: "some photos failed, or a comparison got worse",
    ExitCode.USAGE: "usage error",
    ExitCode.MODEL: "bundle missing or damaged",
    ExitCode.DEVICE: "device missing or out of memory",
    ExitCode.SERVER: "server or network error",
    ExitCode.INTERRUPTED: "interrupted",
}

CODES_OF_ERRORS: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (PhotoError, ExitCode.SOME_FAILED), (BundleError, ExitCode.MODEL), (DeviceError, ExitCode.DEVICE),
    (MemoryError, ExitCode.DEVICE), (ControlsError, ExitCode.USAGE), (ModelsError, ExitCode.MODEL),
)  # fmt: skip
"""The first class that matches wins."""

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)


def print_message(text: str) -> None:
    """Print a line for the user, on stderr."""
    stderr.print(text, markup=False)


def print_warning(text: str) -> None:
    stderr.print(f"warning: {text}", style="yellow", markup=False)


def print_error(text: str) -> None:
    stderr.print(f"error: {text}", style="red", markup=False)


def print_failure(name: str, message: str, *, as_json: bool) -> None:
    """Report an input that failed; with `as_json` also as a row on stdout."""
    print_error(message)
    if as_json:
        print_json_line({"input": name, "error": message})


def print_failures(messages: Mapping[str, str], *, as_json: bool) -> list[ExitCode]:
    """Report several inputs that failed, by name.  Returns an exit code for each."""
    for name, message in messages.items():
        print_failure(name, message, as_json=as_json)
    return [ExitCode.SOME_FAILED] * len(messages)


def print_json_line(row: Mapping[str, object]) -> None:
    """Print one JSON object and a newline, flushed, so that the reader of a pipe gets each row at once."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def print_table(table: object) -> None:
    """Print a table on stdout.  A file or a pipe has no width, and rich would cut the table at 80 columns."""
    stdout.width = stdout.width if stdout.is_terminal else max(stdout.width, PIPED_TABLE_COLUMNS)
    stdout.print(table)


def exit_code_for(error: BaseException) -> ExitCode:
    """Returns the exit code for an error that ends the command."""
    return next((code for kind, code in CODES_OF_ERRORS if isinstance(error, kind)), ExitCode.SOME_FAILED)


def exit_if_any_failed(failures: list[ExitCode], count: int) -> None:
    """End a run over `count` photos: with the common exit code if all failed alike, else with SOME_FAILED.

    Raises:
        typer.Exit: `failures` is not empty.
    """
    if failures and count > 1:
        print_error(f"{len(failures)} of {count} photos failed")
    if failures:
        same_reason = len(failures) == count and len(set(failures)) == 1
        raise typer.Exit(failures[0] if same_reason else ExitCode.SOME_FAILED)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn an error into a message on stderr and an exit code.  UNDEGRADE_DEBUG=1 shows the traceback instead."""
    try:
        yield
    except KeyboardInterrupt:
        print_message("interrupted; finished files are kept, and no partial file is left")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except ModelsError as error:
        if debug_enabled():
            raise
        print_error(str(error))
        raise typer.Exit(exit_code_for(error)) from None
    except OSError as error:
        if debug_enabled() or error.errno == errno.EPIPE:  # the reader of the pipe is gone; typer ends quietly
            raise
        print_error(f"cannot use {error.filename or 'standard input or output'}: {error.strerror or error}.")
        raise typer.Exit(exit_code_for(error)) from None


def stderr_is_terminal() -> bool:
    """Returns whether a progress bar would be visible."""
    return sys.stderr.isatty()


def refuse_binary_on_terminal(content: str) -> None:
    """Refuse to write the bytes of an image to a terminal.

    Raises:
        ControlsError: stdout is a terminal.
    """
    if sys.stdout.isatty():
        raise ControlsError(f"{content} would be written to the terminal. Redirect stdout, or give -o a file.")
