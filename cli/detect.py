"""`undegrade detect IN...`: what is wrong with photos, without repairing it."""

import json
import sys
from typing import Annotated

import typer
from rich.table import Table

from cli.inputs import STDIO, find_inputs
from cli.session import open_restorer
from cli.talk import Exit, complain, sentences, stdout
from models.errors import ModelsError


def detect(
    inputs: Annotated[list[str], typer.Argument(help="Photos, folders or globs; - reads stdin.", metavar="IN...")],
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    bundle: Annotated[str | None, typer.Option(help="A bundle's name or folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
) -> None:
    """Say what is wrong with photos: a probability for each degradation, and for clean.

    Example: undegrade detect holiday/ --json
    """
    failed = 0
    with sentences():
        from models.images import to_tensor
        from models.photo import read_photo

        sources = [None] if inputs == [STDIO] else [path for path, _ in find_inputs(inputs)]
        restorer = open_restorer(bundle, device)
        table = Table("photo", "label", "probabilities")
        for source in sources:
            name = str(source) if source else "stdin"
            try:
                photo = read_photo(source if source else sys.stdin.buffer.read())
                assessment = restorer.assess([to_tensor(photo.pixels)])[0]
            except ModelsError as error:
                failed += 1
                complain(str(error))
                continue
            ranked = dict(sorted(assessment.probabilities.items(), key=lambda item: -item[1]))
            if as_json:
                sys.stdout.write(json.dumps({"input": name, "label": assessment.label, "probabilities": ranked}) + "\n")
            else:
                shares = ", ".join(f"{label} {share:.0%}" for label, share in ranked.items() if share >= 0.01)
                table.add_row(name, assessment.label, shares)
        if not as_json:
            stdout.print(table)
    if failed:
        raise typer.Exit(Exit.SOME_FAILED)
