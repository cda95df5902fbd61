"""Output of the command: data goes to stdout, everything else to stderr.

Names of files and other words from outside may hold escape sequences, line breaks or rich's markup.  All text passes
through `visible` here, and through `jobs.json_log` in JSON, before it reaches a terminal, a pipe or a log.
"""

import contextlib
import sys
import unicodedata
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from jobs.json_log import json_text
from models.errors import ControlsError

PIPED_TABLE_COLUMNS = 160
JOINERS = "\u200c\u200d"
"""Format characters that spell words and emoji, and cannot reorder or hide text."""

stderr = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
stdout = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def visible(text: str) -> str:
    """Returns text without characters that steer a terminal, break the line or reorder it: each as an escape."""
    if text.isprintable() and text.isascii():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in JOINERS:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def print_message(text: str) -> None:
    """Print a line for the user, on stderr."""
    _print_line(text)


def print_lines(text: str) -> None:
    """Print a text of several lines of our own, such as license terms, on stderr."""
    for line in text.splitlines():
        _print_line(line)


def print_warning(text: str) -> None:
    _print_line(f"warning: {text}", style="yellow")


def print_warnings(texts: Iterable[str]) -> None:
    for text in texts:
        print_warning(text)


def print_error(text: str) -> None:
    _print_line(f"error: {text}", style="red")


def _print_line(text: str, style: str | None = None) -> None:
    with contextlib.suppress(OSError):  # whoever read stderr is gone, or its disk is full; the photos are not at fault
        stderr.print(visible(text), style=style)


def print_failure(name: str, message: str, *, as_json: bool) -> None:
    """Report an input that failed; with `as_json` also as a row on stdout."""
    print_error(message)
    if as_json:
        print_json_line({"input": name, "error": message})


def print_json_line(row: Mapping[str, object]) -> None:
    """Print one JSON object and a newline, flushed, so that the reader of a pipe gets each row at once."""
    sys.stdout.write(json_text(row) + "\n")
    sys.stdout.flush()


def print_table(table: Table) -> None:
    """Print a table of plain text on stdout.  A file or a pipe has no width, and rich would cut at 80 columns."""
    for column in table.columns:
        column.header = _plain(column.header)
        column._cells = [_plain(cell) for cell in column._cells]
    stdout.width = stdout.width if stdout.is_terminal else max(stdout.width, PIPED_TABLE_COLUMNS)
    stdout.print(table)


def _plain(cell: RenderableType) -> RenderableType:
    """Returns a cell that is shown as it is, without markup."""
    if isinstance(cell, Text):
        cell.plain = visible(cell.plain)
        return cell
    return Text(visible(cell)) if isinstance(cell, str) else cell


def stderr_is_terminal() -> bool:
    """Returns whether a progress bar would be visible."""
    return sys.stderr.isatty()


def stdin_is_terminal() -> bool:
    """Returns whether somebody can answer a question."""
    return sys.stdin.isatty()


def refuse_binary_on_terminal(content: str) -> None:
    """Refuse to write the bytes of an image to a terminal.

    Raises:
        ControlsError: stdout is a terminal.
    """
    if sys.stdout.isatty():
        raise ControlsError(f"{content} would be written to the terminal. Redirect stdout, or give -o a file.")
