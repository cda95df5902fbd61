"""`undegrade detect IN...`: what is wrong with photos, without repairing it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.batch import read_input, report_failure, write_row
from cli.console import Exit, code_of, end, print_table, sentences
from cli.inputs import STDIO, find_inputs
from cli.session import memory_in_words, open_restorer
from models.errors import ControlsError, ModelsError

if TYPE_CHECKING:
    from models.restorer import Assessment, Restorer


def detect(
    inputs: Annotated[list[str], typer.Argument(help="Photos, folders or globs; - reads stdin.", metavar="IN...")],
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    bundle: Annotated[str | None, typer.Option(help="A bundle's name or folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
) -> None:
    """Say what is wrong with photos: a probability for each degradation, and for clean.

    Example: undegrade detect holiday/ --json
    """
    failures: list[Exit] = []
    table = Table("photo", "label", "probabilities")
    with sentences():
        sources, missing = _sources(inputs)
        for word, sentence in missing.items():
            failures.append(Exit.SOME_FAILED)
            report_failure(word, sentence, as_json=as_json)
        if not sources:
            end(failures, len(missing))
        restorer = open_restorer(bundle, device)
        for source in sources:
            name = str(source) if source else "stdin"
            try:
                assessment = _assess(restorer, source)
            except ModelsError as error:
                failures.append(code_of(error))
                report_failure(name, str(error), as_json=as_json)
                continue
            ranked = dict(sorted(assessment.probabilities.items(), key=lambda item: -item[1]))
            if as_json:
                write_row({"input": name, "label": assessment.label, "probabilities": ranked})
            else:
                shares = ", ".join(f"{label} {share:.0%}" for label, share in ranked.items() if share >= 0.01)
                table.add_row(Text(name, overflow="fold"), assessment.label, shares)
        if table.rows:
            print_table(table)
    end(failures, len(sources) + len(missing))


def _sources(words: list[str]) -> tuple[list[Path | None], dict[str, str]]:
    """The photos, None for stdin; and a sentence for each word that names none."""
    if STDIO in words:
        if len(words) > 1:
            raise ControlsError("- reads one photo from stdin; give it alone.")
        return [None], {}
    found = find_inputs(words)
    return list(found.photos), found.missing


def _assess(restorer: "Restorer", source: Path | None) -> "Assessment":
    from models.pixels import to_tensor

    with memory_in_words():
        return restorer.assess([to_tensor(read_input(source).pixels)])[0]
