"""How the command talks: data to stdout, everything else to stderr, and one exit code for each kind of trouble.

0 done · 1 some files failed · 2 usage · 3 model · 4 device or memory · 5 server or auth · 130 interrupted
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich.console import Console

from cli.settings import settings
from models.errors import BundleError, ControlsError, DeviceError, ModelsError, PhotoError


class Exit(IntEnum):
    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    MODEL = 3
    DEVICE = 4
    SERVER = 5
    INTERRUPTED = 130


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
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, BundleError):
        return Exit.MODEL
    if isinstance(error, DeviceError | MemoryError):
        return Exit.DEVICE
    if isinstance(error, ControlsError):
        return Exit.USAGE
    return Exit.SOME_FAILED if isinstance(error, PhotoError) else Exit.MODEL


@contextmanager
def sentences() -> Iterator[None]:
    """Turn an error that ends the command into a sentence and its exit code; UNDEGRADE_DEBUG=1 shows the traceback."""
    try:
        yield
    except (ModelsError, MemoryError) as error:
        if settings().debug:
            raise
        complain(str(error) or "out of memory; give --device cpu or a smaller image")
        raise typer.Exit(code_of(error)) from None
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept, no half file was left")
        raise typer.Exit(Exit.INTERRUPTED) from None


def is_terminal() -> bool:
    return sys.stderr.isatty()
