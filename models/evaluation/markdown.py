"""A report as GitHub markdown, and its main table for the terminal."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from models.evaluation.comparison import CHANGES, Comparison, changes_grid, changes_lines
from models.evaluation.report import Report
from models.evaluation.summary import Summary
from models.evaluation.tables import (
    LEGEND,
    METRICS_LEGEND,
    Grid,
    clean_line,
    confusion_grid,
    head_lines,
    hurt_grid,
    main_grid,
    metrics_grid,
    passes_grid,
)

MARKDOWN_NAME = "report.md"


def markdown(report: Report, changes: Comparison | None = None) -> str:
    """The whole report, and what changed since an earlier one."""
    summary, at = report.summary, report.head.conditions
    parts = [
        f"# Evaluation of {at.bundle} {at.version}, {report.head.date[:10]}",
        _bullets([*head_lines(report.head), f"`{report.head.command}`"]),
        *(["Asked for, and not measured:", _bullets(report.notes)] if report.notes else []),
        LEGEND,
        table(main_grid(summary)),
        *_metrics(report),
        *_changes(changes),
        *_others(report),
        "## Clean photographs",
        clean_line(summary.clean),
        "## Labels: right (rows) against found (columns)",
        table(confusion_grid(summary)) if summary.confusion else "No picture has a label that this bundle knows.",
        "## Passes and why they stopped",
        table(passes_grid(summary)),
        "## Pairs made worse by the automatic mode",
        table(hurt_grid(summary)) if summary.hurt else "None.",
    ]
    if summary.errors:
        parts += ["## Errors", _bullets(f"{name}: {error}" for name, error in summary.errors.items())]
    return "\n\n".join(parts) + "\n"


def table(grid: Grid) -> str:
    """A grid as a markdown table; lines that sum up are bold."""
    lines = [[f"**{c}**" if c and index in grid.whole else c for c in line] for index, line in enumerate(grid.lines)]
    return "\n".join([_line(grid.columns), "|" + "---|" * len(grid.columns), *(_line(line) for line in lines)])


def terminal_table(summary: Summary) -> Table:
    """The main table, one line a subset or task."""
    return _terminal(main_grid(summary), ("subset",))


def terminal_changes(changes: Comparison) -> Table:
    """Old, new and difference, one line a subset and mode."""
    return _terminal(changes_grid(changes), ("subset", "mode"))


def _terminal(grid: Grid, words: Sequence[str]) -> Table:
    """A grid whose first two columns, task and subset, share one."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in grid.columns[1:]:
        shown.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    for index, (task, subset, *numbers) in enumerate(grid.lines):
        shown.add_row(subset or task, *numbers, style="bold" if index in grid.whole else None)
    return shown


def _metrics(report: Report) -> list[str]:
    grid = metrics_grid(report)
    return [] if grid is None else ["## Other metrics", METRICS_LEGEND, table(grid)]


def _changes(changes: Comparison | None) -> list[str]:
    return [] if changes is None else [f"## {CHANGES}", table(changes_grid(changes)), _bullets(changes_lines(changes))]


def _others(report: Report) -> list[str]:
    """Where other tools' columns come from."""
    against = report.head.conditions.against
    return ["## Other tools", _bullets(f"{name}: `{source}`" for name, source in against.items())] if against else []


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
