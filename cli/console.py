"""Output of the command: data goes to stdout, everything else to stderr."""

import json
import sys
from collections.abc import Mapping

from rich.console import Console

from models.errors import ControlsError

PIPED_TABLE_COLUMNS = 110

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


def print_json_line(row: Mapping[str, object]) -> None:
    """Print one JSON object and a newline, flushed, so that the reader of a pipe gets each row at once."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def print_table(table: object) -> None:
    """Print a table on stdout.  A file or a pipe has no width, and rich would cut the table at 80 columns."""
    stdout.width = stdout.width if stdout.is_terminal else max(stdout.width, PIPED_TABLE_COLUMNS)
    stdout.print(table)


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
