"""`python -m models.training curves RUN... --out FILE.svg`: the validation results of runs over time.

One panel per run, one line per degradation.  Values come from `log.jsonl`: dB over the input for restoration stages,
accuracies for the others.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rich.console import Console

from models.errors import TrainingError

NOT_DRAWN = ("step", "minutes", "loss", "score", "clean")
"""Columns of the log that get no line; "clean" is a PSNR, on another scale than gains."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#555555", "#b8a000", "#003f5c")
WIDE, HIGH = 330, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 92, 30, 34


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The name of a run, the minutes of its validations, and the values of each line at these minutes."""

    name: str
    minutes: tuple[float, ...]
    lines: Mapping[str, tuple[float, ...]]


def read_curves(run: Path) -> Curves:
    """Read the validations from the folder of a run.

    Raises:
        TrainingError: log.jsonl is missing or empty.
    """
    path = run / "log.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    except OSError as error:
        raise TrainingError(
            f"cannot read {path}: {error.strerror}. Give the folder that was passed to a stage as --out."
        ) from error
    if not rows:
        raise TrainingError(f"{path} is empty: the run has not been validated yet. Wait for the first validation.")
    names = [name for name in rows[0] if name not in NOT_DRAWN]
    return Curves(
        name=run.name, minutes=tuple(float(row["minutes"]) for row in rows),
        lines={name: tuple(float(row[name]) for row in rows) for name in names},
    )  # fmt: skip


def draw_curves(runs: Sequence[Curves]) -> str:
    """Returns an SVG document with the panels side by side."""
    panels = "".join(
        f'<g transform="translate({index * WIDE},0)">{"".join(_panel(run))}</g>' for index, run in enumerate(runs)
    )
    width = WIDE * len(runs)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HIGH}" width="{width}" height="{HIGH}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>{panels}</svg>\n'
    )


def _panel(run: Curves) -> Iterator[str]:
    values = [value for line in run.lines.values() for value in line]
    low, high, last = min(0.0, *values), max(*values, 0.1), max(run.minutes[-1], 1e-9)

    def x(minute: float) -> float:
        return LEFT + (WIDE - LEFT - RIGHT) * minute / last

    def y(value: float) -> float:
        return TOP + (HIGH - TOP - BOTTOM) * (high - value) / (high - low)

    yield f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(run.name)}</text>'
    for value in (low, (low + high) / 2, high):
        yield f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 4}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#555">{value:.1f}</text>'
    yield f'<text x="{LEFT}" y="{HIGH - 16}" fill="#555">0</text>'
    yield f'<text x="{WIDE - RIGHT}" y="{HIGH - 16}" text-anchor="end" fill="#555">{last:.0f} min</text>'
    ends = _spread([y(line[-1]) for line in run.lines.values()], 12)
    for (name, line), color, end in zip(run.lines.items(), COLORS * 2, ends, strict=False):
        points = " ".join(f"{x(m):.1f},{y(v):.1f}" for m, v in zip(run.minutes, line, strict=True))
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.8"/>'
        yield f'<text x="{WIDE - RIGHT + 5}" y="{end + 4:.1f}" fill="{color}">{escape(name)}</text>'


def _spread(heights: Sequence[float], apart: float) -> list[float]:
    """Returns the heights of the labels, moved down where they would overlap."""
    moved, free = [0.0] * len(heights), float("-inf")
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        moved[index] = free = max(heights[index], free + apart)
    return moved


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", help="folders that stages wrote as --out")
    parser.add_argument("--out", type=Path, required=True, help="SVG file to write")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the figure; returns the exit code.

    Raises:
        TrainingError: a folder has no validations.
    """
    arguments.out.write_text(draw_curves([read_curves(folder) for folder in arguments.runs]))
    console.print(f"wrote {arguments.out}", markup=False)
    return 0
