"""The `undegrade` command: its subcommands, and what is common to all of them."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.console import print_error, print_warning, visible
from cli.exit_codes import EXIT_CODES, ExitCode, exit_on_error
from cli.settings import debug_enabled, settings, unknown_settings
from cli.signals import end_on_signals

COMMANDS: dict[str, tuple[str, str]] = {
    **{name: (f"cli.{name}", name) for name in ("restore", "detect", "evaluate", "learn", "compare", "doctor")},
    **{name: (f"cli.{name}", name) for name in ("serve", "api", "worker", "webhooks", "health")},
    "models": ("cli.bundles", "app"),
    "keys": ("cli.keys", "app"),
    "workers": ("cli.workers", "app"),
    "queue": ("cli.queue", "app"),
    "shards": ("cli.shards", "app"),
    "top": ("cli.top", "top"),
    "scale-in": ("cli.scale_in", "scale_in"),
}
"""The module and the attribute of each command, in the order of --help."""


class LazyCommands(Mapping[str, Any]):
    """Imports a command when it is used: one that fails at once shall not wait for the imports of the others."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - click's own classes are hidden by typer
        module, attribute = COMMANDS[name]
        made = getattr(import_module(module), attribute)
        if not isinstance(made, typer.Typer):
            function, made = made, typer.Typer(add_completion=False, rich_markup_mode="rich")
            made.command(name)(function)
        command = typer.main.get_command(made)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandGroup(TyperGroup):
    """Shows the words of a usage error without what steers a terminal: they repeat what the user gave."""

    def __init__(self, *words: Any, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*words, **named)
        self.commands = LazyCommands()  # type: ignore[assignment]  # nothing adds to it later

    def make_context(self, *words: Any, **named: Any) -> Any:  # noqa: ANN401 - typer's signature
        with _visible_errors():
            return super().make_context(*words, **named)

    def invoke(self, *words: Any, **named: Any) -> Any:  # noqa: ANN401
        with _visible_errors():
            return super().invoke(*words, **named)


@contextmanager
def _visible_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own classes of usage errors are private
            for name, value in vars(error).items():
                if isinstance(value, str):
                    setattr(error, name, visible(value))
        raise


app = typer.Typer(
    name="undegrade",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=f"Exit codes: {'; '.join(f'{code.value} {meaning}' for code, meaning in EXIT_CODES.items())}.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"undegrade {version('undegrade')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find out what is wrong with a photo, and repair it.

    Examples:

      undegrade restore photo.jpg

      undegrade restore holiday/ -o restored/

      undegrade detect photo.jpg
    """
    for message in unknown_settings():
        print_warning(message)
    with exit_on_error():
        settings()  # report an invalid value before anything is loaded


def main() -> None:
    """Run the command.  It ends with an exit code and a message, and shows tracebacks only with UNDEGRADE_DEBUG."""
    _open_closed_streams()
    end_on_signals()
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its errors are reported as ours
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file name may not be valid text
    try:
        with exit_on_error():
            app()
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except Exception as error:  # report errors that no code expects in one line, too
        if debug_enabled():
            raise
        print_error(
            f"unexpected {type(error).__name__}: {error}. This is a bug in undegrade. "
            "Set UNDEGRADE_DEBUG=1 to see the traceback."
        )
        sys.exit(ExitCode.SOME_FAILED)


def _open_closed_streams() -> None:
    """Open the null device for each stream that the parent closed (>&-), or the next file would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open as long as the process
