"""The `undegrade` command."""

import logging
import os
import signal
import sys
from importlib.metadata import version
from types import FrameType
from typing import Annotated, NoReturn

import typer

from cli import bundles, keys
from cli.api import api
from cli.compare import compare
from cli.console import Exit, complain, sentences, warn
from cli.detect import detect
from cli.doctor import doctor
from cli.evaluate import evaluate
from cli.restore import restore
from cli.serve import serve
from cli.settings import debugging, settings, unknown_settings
from cli.worker import worker

app = typer.Typer(
    name="undegrade",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(restore)
app.command()(detect)
app.command()(evaluate)
app.command()(compare)
app.command()(doctor)
app.command()(serve)
app.command()(api)
app.command()(worker)
app.add_typer(bundles.app, name="models")
app.add_typer(keys.app, name="keys")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"undegrade {version('undegrade')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find what is wrong with a photo and repair it, step by step.

    Examples:

      undegrade restore photo.jpg

      undegrade restore holiday/ -o restored/

      undegrade detect photo.jpg

    Exit codes: 0 done, 1 some photos failed or a comparison lost,
    2 usage, 3 model, 4 device or memory, 5 server or auth, 130 interrupted.
    """
    for sentence in unknown_settings():
        warn(sentence)
    with sentences():
        settings()  # a wrong value is told before anything is loaded


def main() -> None:
    """Run, and end with an exit code and a sentence: never with a traceback unless UNDEGRADE_DEBUG asks for it."""
    _open_what_is_closed()
    signal.signal(signal.SIGTERM, _terminated)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its complaints come as our sentences
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        with sentences():
            app()
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except Exception as error:  # the last stop before the person's eyes
        if debugging():
            raise
        complain(f"{type(error).__name__}: {error}. This is a mistake of undegrade; UNDEGRADE_DEBUG=1 shows where.")
        sys.exit(Exit.SOME_FAILED)


def _open_what_is_closed() -> None:
    """Give a stream that the parent closed (>&-) the null device; else the next opened file would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - stays open as long as the process


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds, so that no half file is left."""
    sys.exit(128 + number)
