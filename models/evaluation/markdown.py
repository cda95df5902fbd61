"""Writes a report as GitHub markdown, and its main table for the terminal."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from models.evaluation.comparison import TITLE, Comparison, changes_grid, changes_notes
from models.evaluation.examination_tables import sections
from models.evaluation.report import Report
from models.evaluation.summary import Summary
from models.evaluation.tables import (
    LEGEND,
    METRICS_LEGEND,
    Grid,
    clean_photos_text,
    confusion_grid,
    header_lines,
    main_grid,
    metrics_grid,
    passes_grid,
    worse_pairs_grid,
)

MARKDOWN_NAME = "report.md"


def markdown_report(report: Report, changes: Comparison | None = None) -> str:
    """Returns the full report and, if given, the comparison with an earlier report."""
    summary, at = report.summary, report.head.conditions
    parts = [
        f"# Evaluation of {at.bundle} {at.version}, {report.head.date[:10]}",
        _bullets([*header_lines(report.head), f"`{report.head.command}`"]),
        *(["Requested, but not measured:", _bullets(report.notes)] if report.notes else []),
        LEGEND,
        table(main_grid(summary)),
        "## Worst losses: pairs with a negative PSNR gain in auto mode",
        table(worse_pairs_grid(summary)) if summary.hurt else "None.",
        *_metrics(report),
        *_changes(changes),
        *_other_tools(report),
        "## Clean photos",
        clean_photos_text(summary.clean),
        *(part for of in sections(report.examinations) for part in (f"## {of.title}", of.note, table(of.grid))),
        "## Confusion matrix: expected label (rows), found label (columns)",
        table(confusion_grid(summary)) if summary.confusion else "No photo has a label that this bundle knows.",
        "## Passes and stop reasons",
        table(passes_grid(summary)),
    ]
    if summary.errors:
        parts += ["## Errors", _bullets(f"{name}: {error}" for name, error in summary.errors.items())]
    return "\n\n".join(parts) + "\n"


def table(grid: Grid) -> str:
    """Returns a grid as a markdown table; totals are bold."""
    lines = [[f"**{c}**" if c and index in grid.totals else c for c in line] for index, line in enumerate(grid.lines)]
    return "\n".join([_line(grid.columns), "|" + "---|" * len(grid.columns), *(_line(line) for line in lines)])


def terminal_table(summary: Summary) -> Table:
    """Returns the main table, one line per subset or task."""
    return _terminal(main_grid(summary), ("subset",))


def terminal_changes(changes: Comparison) -> Table:
    """Returns old, new and change, one line per subset and mode."""
    return _terminal(changes_grid(changes), ("subset", "mode"))


def _terminal(grid: Grid, text_columns: Sequence[str]) -> Table:
    """Returns a grid with its first two columns, task and subset, merged into one."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in grid.columns[1:]:
        shown.add_column(name, justify="left" if name in text_columns else "right", no_wrap=True)
    for index, (task, subset, *numbers) in enumerate(grid.lines):
        shown.add_row(subset or task, *numbers, style="bold" if index in grid.totals else None)
    return shown


def _metrics(report: Report) -> list[str]:
    grid = metrics_grid(report)
    return [] if grid is None else ["## Learned metrics", METRICS_LEGEND, table(grid)]


def _changes(changes: Comparison | None) -> list[str]:
    return [] if changes is None else [f"## {TITLE}", table(changes_grid(changes)), _bullets(changes_notes(changes))]


def _other_tools(report: Report) -> list[str]:
    """Returns the command or folder of each other tool."""
    against = report.head.conditions.against
    return ["## Other tools", _bullets(f"{name}: `{source}`" for name, source in against.items())] if against else []


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
