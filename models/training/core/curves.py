"""`python -m models.training.core.curves RUN... --out FILE.svg`: what a run's validations said, over its minutes.

One panel a run, one line a degradation; figures are those of `log.jsonl`, in dB over the input for restoring stages and
shares for the others.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from models.errors import TrainingError

APART = ("step", "minutes", "loss", "score", "clean")
"""What is no line of its own; "clean" is a PSNR, on another scale than gains."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#555555", "#b8a000", "#003f5c")
WIDE, HIGH = 330, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 92, 30, 34


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A run's name, the minutes of its validations, and each line's values at them."""

    name: str
    minutes: tuple[float, ...]
    lines: Mapping[str, tuple[float, ...]]


def read_curves(run: Path) -> Curves:
    """The validations in a run's folder.

    Raises:
        TrainingError: it has no log.jsonl, or an empty one.
    """
    path = run / "log.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}. A run's folder is what --out named.") from error
    if not rows:
        raise TrainingError(f"{path} is empty: the run has not been validated yet")
    names = [name for name in rows[0] if name not in APART]
    return Curves(
        name=run.name, minutes=tuple(float(row["minutes"]) for row in rows),
        lines={name: tuple(float(row[name]) for row in rows) for name in names},
    )  # fmt: skip


def draw(runs: Sequence[Curves]) -> str:
    """An SVG document, panels side by side."""
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
    """The same heights, moved down where labels would lie on each other."""
    moved, free = [0.0] * len(heights), float("-inf")
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        moved[index] = free = max(heights[index], free + apart)
    return moved


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.core.curves", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("runs", type=Path, nargs="+", help="folders that --out of a training named")
    parser.add_argument("--out", type=Path, required=True, help="the SVG to write")
    said = parser.parse_args()
    try:
        said.out.write_text(draw([read_curves(run) for run in said.runs]))
    except TrainingError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
