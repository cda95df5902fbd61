"""Writes a report as one HTML file with embedded pictures.  It needs no scripts, fonts, server or other files."""

from base64 import b64encode
from collections.abc import Iterable
from html import escape

from models.evaluation.album import MAX_SIDE_PX, WORST_PER_TASK, Album, worst_rows
from models.evaluation.comparison import TITLE, Comparison, changes_grid, changes_notes
from models.evaluation.examination_tables import sections
from models.evaluation.measurements import Row
from models.evaluation.report import Report
from models.evaluation.strips import caption
from models.evaluation.summary import Summary
from models.evaluation.tables import (
    LEGEND,
    METRICS_LEGEND,
    Grid,
    clean_photos_text,
    found_labels,
    header_lines,
    main_grid,
    metrics_grid,
    passes_grid,
    share_correct,
    worse_pairs_grid,
)

PAGE_NAME = "report.html"

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fbfbfa; --line: #d5d8dc; --soft: #5a626c;
  --total: #eef0f2; --correct: 32 130 90; --wrong: 196 78 50; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e9; --paper: #16181b; --line: #3a3f45; --soft: #a0a8b1;
  --total: #22262a; --correct: 70 170 125; --wrong: 214 104 76; } }
body { margin: 0 auto; padding: 1.5rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, ul { max-width: 75rem; } .soft, figcaption { color: var(--soft); }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
td.n, th.n { text-align: right; } tr.total td { font-weight: 600; background: var(--total); }
.shaded td { text-align: center; min-width: 2.4rem; border: 1px solid var(--line); }
.strip { display: flex; gap: 6px; overflow-x: auto; padding-bottom: .4rem; }
figure { margin: 0; flex: none; } figure img { display: block; } figcaption { font-size: .82rem; max-width: 640px; }
"""


def html_report(report: Report, album: Album, changes: Comparison | None = None) -> str:
    """Returns the full report with the worst photos of each task and, if given, the comparison with an earlier one."""
    summary, at = report.summary, report.head.conditions
    title = f"{at.bundle} {at.version}: evaluation"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _items([*map(escape, header_lines(report.head)), f"<code>{escape(report.head.command)}</code>"]),
        *(["<p>Requested, but not measured:</p>", _items(map(escape, report.notes))] if report.notes else []),
        f"<p>{escape(LEGEND)}</p>",
        _table(main_grid(summary)),
        "<h2>Worst losses: pairs with a negative PSNR gain in auto mode</h2>",
        _table(worse_pairs_grid(summary)) if summary.hurt else "<p>None.</p>",
        *_metrics(report),
        *_changes(changes),
        *_other_tools(report),
        "<h2>Clean photos</h2>",
        f"<p>{escape(clean_photos_text(summary.clean))}</p>",
        *_examinations(report),
        "<h2>Confusion matrix: expected label (rows), found label (columns)</h2>",
        _confusion(summary),
        "<h2>Passes and stop reasons</h2>",
        _table(passes_grid(summary)),
        *_worst(report.rows, album),
        *_errors(summary),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _table(grid: Grid) -> str:
    """Returns a table in which columns of numbers are aligned to the right."""
    right = [_is_number(line[index] for line in grid.lines) for index in range(len(grid.columns))]
    kinds = [' class="n"' if number else "" for number in right]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(grid.columns, kinds, strict=True))
    lines = []
    for index, line in enumerate(grid.lines):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(line, kinds, strict=True))
        lines.append(f'<tr class="total">{cells}</tr>' if index in grid.totals else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>\n' + "\n".join(lines) + "</table></div>"


def _is_number(cells: Iterable[str]) -> bool:
    return all(cell[:1] in "-+0123456789" for cell in cells)


def _confusion(summary: Summary) -> str:
    """Returns the confusion matrix, shaded by the share of the row; correct and wrong labels have different colors."""
    if not summary.confusion:
        return "<p>No photo has a label that this bundle knows.</p>"
    names = found_labels(summary)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("expected label", *names, "correct"))
    lines = []
    for expected, counts in sorted(summary.confusion.items()):
        cells = "".join(_shaded(counts.get(name, 0), sum(counts.values()), name == expected) for name in names)
        lines.append(f"<tr><th>{escape(expected)}</th>{cells}<td>{share_correct(counts, expected):.0%}</td></tr>")
    return f'<div class="scroll"><table class="shaded"><tr>{head}</tr>\n' + "\n".join(lines) + "</table></div>"


def _shaded(count: int, total: int, correct: bool) -> str:
    if not count:
        return "<td></td>"
    # at most 60 % opacity, so that the number stays readable on light and dark backgrounds
    color = "correct" if correct else "wrong"
    return f'<td style="background: rgb(var(--{color}) / {0.6 * count / total:.2f})">{count}</td>'


def _worst(rows: Iterable[Row], album: Album) -> list[str]:
    parts = [
        f"<h2>The {WORST_PER_TASK} worst photos of each task</h2>",
        '<p class="soft">The lowest PSNR gains in auto mode; without a ground truth, the lowest probabilities of the '
        "expected label. Clean photos are shown only if they changed. "
        f"Pictures larger than {MAX_SIDE_PX} px are shown smaller.</p>",
    ]
    for task, members in worst_rows(rows).items():
        parts.append(f"<h3>{escape(task)}</h3>")
        parts += [_strip(row, album.pictures(row)) for row in members]
    return parts


def _strip(row: Row, pictures: dict[str, bytes]) -> str:
    title = f"<p>{escape(row.name)}"
    if not pictures:
        return f'{title} <span class="soft">(no pictures stored; measure again with --restart)</span></p>'
    figures = []
    for name, data in pictures.items():
        first, second = map(escape, caption(row, name))
        source = b64encode(data).decode("ascii")
        figures.append(
            f'<figure><figcaption>{first}<br>{second}</figcaption><img alt="{escape(f"{row.name}: {name}")}" '
            f'src="data:image/webp;base64,{source}"></figure>'
        )
    return f'{title}</p><div class="strip">' + "\n".join(figures) + "</div>"


def _metrics(report: Report) -> list[str]:
    grid = metrics_grid(report)
    return [] if grid is None else ["<h2>Learned metrics</h2>", f"<p>{escape(METRICS_LEGEND)}</p>", _table(grid)]


def _examinations(report: Report) -> list[str]:
    return [
        part
        for of in sections(report.examinations)
        for part in (f"<h2>{escape(of.title)}</h2>", f"<p>{escape(of.note)}</p>", _table(of.grid))
    ]


def _changes(changes: Comparison | None) -> list[str]:
    if changes is None:
        return []
    return [f"<h2>{TITLE}</h2>", _table(changes_grid(changes)), _items(map(escape, changes_notes(changes)))]


def _other_tools(report: Report) -> list[str]:
    against = report.head.conditions.against
    lines = (f"{escape(name)}: <code>{escape(source)}</code>" for name, source in against.items())
    return ["<h2>Other tools</h2>", _items(lines)] if against else []


def _errors(summary: Summary) -> list[str]:
    lines = [escape(f"{name}: {error}") for name, error in summary.errors.items()]
    return ["<h2>Errors</h2>", _items(lines)] if lines else []


def _items(lines: Iterable[str]) -> str:
    """Returns a list of HTML lines, which the caller has escaped."""
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
