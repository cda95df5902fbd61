"""The report of a run: JSON for programs, markdown for people, a table for the terminal.

Its head says where the numbers come from: date, device, torch, bundle with fingerprint, commit, command.
"""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE_HEAD
from rich.table import Table

from models.evaluation.rows import Conditions, Row, Scores
from models.evaluation.summary import UNTOUCHED_DB, CleanTally, ModeTally, Summary, Tally, summarise

JSON_NAME, MARKDOWN_NAME = "report.json", "report.md"
NOTHING = "-"


class Head(BaseModel):
    """Where a report's numbers come from.

    `load` is the machine's mean of running processes over the last minute: seconds are worth little on a busy one;
    `commit` is None outside a checkout.
    """

    model_config = ConfigDict(frozen=True)

    date: str
    device: str
    threads: int
    load: float | None
    torch: str
    python: str
    conditions: Conditions
    commit: str | None
    command: str


class Report(BaseModel):
    """Everything; `rows` are those the summary is made of."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    head: Head
    summary: Summary
    rows: tuple[Row, ...]


def head(conditions: Conditions, command: str) -> Head:
    """The head of a run that ends now."""
    return Head(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        device=device_name(conditions.device),
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # Windows has none
        torch=torch.__version__,
        python=platform.python_version(),
        conditions=conditions,
        commit=commit(Path(__file__).resolve().parents[2]),
        command=command,
    )


def device_name(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def commit(checkout: Path) -> str | None:
    """The commit of a checkout, "+changes" where files differ from it; None where the folder is no checkout's root."""
    if not (checkout / ".git").exists():  # an installed copy may lie inside somebody else's checkout
        return None
    try:
        name = _git(checkout, "rev-parse", "--short=12", "HEAD")
        changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{name}+changes" if changes else name


def _git(checkout: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", checkout, *words], check=True, capture_output=True, text=True).stdout.strip()


def write_report(folder: Path, of: Head, rows: Sequence[Row]) -> Report:
    """Write report.json and report.md into a folder; returns what they say."""
    report = Report(head=of, summary=summarise(rows), rows=tuple(rows))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_NAME).write_text(report.model_dump_json(indent=1) + "\n")
    (folder / MARKDOWN_NAME).write_text(markdown(report))
    return report


def terminal_table(summary: Summary) -> Table:
    """Subsets and tasks, one line each."""
    modes = summary.modes
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in _columns(modes)[1:]:
        table.add_column(name, justify="left" if name == "subset" else "right", no_wrap=True)
    for tally, whole in _in_order(summary):
        task, subset, *numbers = _cells(tally, modes)
        table.add_row(subset or task, *numbers, style="bold" if whole else None)
    return table


def markdown(report: Report) -> str:
    """The whole report as GitHub markdown."""
    summary = report.summary
    parts = [
        "# Evaluation",
        _head_lines(report.head),
        "PSNR in dB (gain over the input) / SSIM, means of pictures. Label: right dominant labels of the first"
        " assessment. Bold rows are whole tasks.",
        _main_table(summary),
        "## Clean photographs",
        _clean_line(summary.clean),
        "## Labels: right (rows) against found (columns)",
        _confusion_table(summary.confusion),
        "## Passes and why they stopped",
        _stops_table(summary),
        "## Pairs made worse by the automatic mode",
        _hurt_table(summary),
    ]
    if summary.errors:
        parts += ["## Errors", "\n".join(f"- {name}: {error}" for name, error in summary.errors.items())]
    return "\n\n".join(parts) + "\n"


def _head_lines(of: Head) -> str:
    at = of.conditions
    asked = f"crop {at.crop_px or 'none'} · seed {at.seed} · steps {at.steps or 'default'}"
    load = "" if of.load is None else f" · load {of.load:.1f}"
    return "\n".join(
        [
            f"- {of.date} · {of.device} · {of.threads} threads{load} · torch {of.torch} · python {of.python}",
            f"- bundle {at.bundle} {at.version} · fingerprint {at.fingerprint[:16]}",
            f"- {asked} · max passes {at.max_passes or 'default'} · commit {of.commit or 'unknown'}",
            f"- `{of.command}`",
        ]
    )


def _in_order(summary: Summary) -> list[tuple[Tally, bool]]:
    """Each task's subsets, then the task, all pairs last, and whether each is a whole; a lone subset is its task."""
    lines: list[tuple[Tally, bool]] = []
    for task in summary.tasks:
        subsets = [tally for tally in summary.subsets if tally.task == task.task]
        if len(subsets) == 1:
            lines.append((subsets[0], True))
        else:
            lines += [*((tally, False) for tally in subsets), (task, True)]
    return [*lines, (summary.overall, True)]


def _columns(modes: Sequence[str]) -> list[str]:
    return ["task", "subset", "n", "input", *modes, "label", "s"]


def _cells(tally: Tally, modes: Sequence[str]) -> list[str]:
    first = tally.modes.get(modes[0]) if modes else None
    return [
        tally.task or "all pairs",
        tally.subset or "",
        str(tally.pictures),
        _scores(tally.scores),
        *(_mode(tally.modes.get(mode)) for mode in modes),
        f"{tally.right}/{tally.labelled}" if tally.labelled else NOTHING,
        f"{first.seconds:.1f}" if first else NOTHING,
    ]


def _scores(scores: Scores) -> str:
    return f"{scores['psnr']:.2f} / {scores['ssim']:.3f}" if scores else NOTHING


def _mode(tally: ModeTally | None) -> str:
    if tally is None or tally.gain_db is None:
        return NOTHING
    return f"{tally.scores['psnr']:.2f} ({tally.gain_db:+.2f}) / {tally.scores['ssim']:.3f}"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + "---|" * len(columns)
    return "\n".join(["| " + " | ".join(columns) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def _main_table(summary: Summary) -> str:
    modes, lines = summary.modes, []
    for tally, whole in _in_order(summary):
        cells = _cells(tally, modes)
        lines.append([f"**{cell}**" if cell and whole else cell for cell in cells])
    return _table(_columns(modes), lines)


def _clean_line(clean: CleanTally | None) -> str:
    if clean is None:
        return "None measured."
    return (
        f"{clean.pictures} ground truths as inputs: {clean.found_clean} found clean, {clean.untouched} within "
        f"{UNTOUCHED_DB:.0f} dB of themselves, {clean.changed_at_all} changed at all; mean {clean.mean_psnr:.2f} dB, "
        f"worst {clean.worst_psnr:.2f} dB (100 dB stands for equal); {clean.seconds:.1f} s each."
        + (f" {clean.errors} failed." if clean.errors else "")
    )


def _confusion_table(confusion: dict[str, dict[str, int]]) -> str:
    if not confusion:
        return "No picture has a label that this bundle knows."
    found = sorted({name for counts in confusion.values() for name in counts} | set(confusion))
    lines = [
        [expected, *(str(counts[name]) if name in counts else "" for name in found), _share(counts, expected)]
        for expected, counts in sorted(confusion.items())
    ]
    return _table(["", *found, "right"], lines)


def _share(counts: dict[str, int], expected: str) -> str:
    return f"{counts.get(expected, 0) / sum(counts.values()):.0%}"


def _stops_table(summary: Summary) -> str:
    lines = [
        [
            tally.task or "",
            mode,
            f"{of.passes:.2f}",
            f"{of.seconds:.1f}",
            ", ".join(f"{k} {n}" for k, n in of.stops.items()),
        ]
        for tally in summary.tasks
        for mode, of in tally.modes.items()
    ]
    return _table(["task", "mode", "passes", "s", "stopped"], lines)


def _hurt_table(summary: Summary) -> str:
    if not summary.hurt:
        return "None."
    lines = [
        [f"{e.task}/{e.name}", f"{e.gain_db:+.2f}", e.expected or NOTHING, e.found, ", ".join(e.repaired) or NOTHING]
        for e in summary.hurt
    ]
    return _table(["pair", "dB", "right label", "found", "repaired"], lines)
