"""The `undegrade` command."""

from importlib.metadata import version
from typing import Annotated

import typer

from cli import bundles
from cli.compare import compare
from cli.detect import detect
from cli.doctor import doctor
from cli.evaluate import evaluate
from cli.restore import restore
from cli.settings import unknown_settings
from cli.talk import warn

app = typer.Typer(
    name="undegrade",
    help="Find what is wrong with a photo and repair it, step by step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(restore)
app.command()(detect)
app.command()(evaluate)
app.command()(compare)
app.command()(doctor)
app.add_typer(bundles.app, name="models")


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

    Exit codes: 0 done, 1 some photos failed, 2 usage, 3 model, 4 device or memory, 5 server or auth, 130 interrupted.
    """
    for sentence in unknown_settings():
        warn(sentence)


def main() -> None:
    app()
