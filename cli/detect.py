"""`undegrade detect`: find out what is wrong with photos, without repairing it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.bundle_loading import load_bundle, report_out_of_memory
from cli.console import print_failure, print_json_line, print_table
from cli.exit_codes import ExitCode, exit_code_for, exit_if_any_failed, exit_on_error, print_failures
from cli.inputs import STDIO, find_photos, read_input, refuse_mixed_stdin
from cli.options import Bundle, Device, Photos
from cli.result_names import print_left_out
from models.errors import ModelsError
from models.photo.part import prepared
from models.photo.read import Limits

if TYPE_CHECKING:
    from models.restorer import Assessment, Restorer


def detect(
    inputs: Photos,
    device: Device = None,
    bundle: Bundle = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each photo, one per line, instead of a table.")
    ] = False,
) -> None:
    """Find out what is wrong with photos, without changing them.

    The result is a probability for each degradation, and for "clean".

    Example: undegrade detect holiday/ --json
    """
    with exit_on_error():
        sources, missing = _sources(inputs)
        failures = print_failures(missing, as_json=as_json)
        if sources:
            failures += _print_assessments(load_bundle(bundle, device), sources, as_json=as_json)
    exit_if_any_failed(failures, len(sources) + len(missing))


def _print_assessments(restorer: "Restorer", sources: Sequence[Path | None], *, as_json: bool) -> list[ExitCode]:
    """Assess each photo and print the results.  Returns one exit code for each photo that failed."""
    failures: list[ExitCode] = []
    table = Table("photo", "label", "probabilities")
    for source in sources:
        name = str(source) if source else "stdin"
        try:
            assessment = _assess(restorer, source)
        except ModelsError as error:
            failures.append(exit_code_for(error))
            print_failure(name, str(error), as_json=as_json)
            continue
        ranked = dict(sorted(assessment.probabilities.items(), key=lambda item: -item[1]))
        if as_json:
            print_json_line({"input": name, "label": assessment.label, "probabilities": ranked})
        else:
            probable = (f"{label} {value:.0%}" for label, value in ranked.items() if value >= 0.01)
            table.add_row(Text(name, overflow="fold"), assessment.label, ", ".join(probable))
    if table.rows:
        print_table(table)
    return failures


def _sources(arguments: list[str]) -> tuple[list[Path | None], dict[str, str]]:
    """Returns the photos (None for stdin), and a message per argument that names no photo."""
    if STDIO in arguments:
        refuse_mixed_stdin(arguments)
        return [None], {}
    found = find_photos(arguments)
    print_left_out(found.left_out)
    return list(found.photos), found.missing


def _assess(restorer: "Restorer", source: Path | None) -> "Assessment":
    from models.pixels import as_image

    with report_out_of_memory():
        photo = prepared(read_input(source), None, 1, Limits())  # what alpha hides must not decide
        return restorer.assess([as_image(photo.pixels)])[0]
