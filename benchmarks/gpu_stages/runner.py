"""Runs stages one after the other, each in a process of its own with its share of the time.

A stage writes one JSON object a line as it measures, so what it found before a failure or its time limit is kept.
Results are written anew after every stage: results.json and results.md.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SKIPPED_EXIT_CODE = 77
LOG_CHARACTERS = 1500


class Skipped(Exception):
    """Why a stage cannot run here."""


@dataclass(frozen=True)
class Stage:
    """A stage and its share of the time."""

    name: str
    share: float


@dataclass
class StageResult:
    """What became of a stage; `note` is the reason of a skip, or the end of the log of a failure."""

    name: str
    status: str  # "ok", "skipped", "failed" or "timeout"
    seconds: float
    rows: list[Row] = field(default_factory=list)
    note: str = ""


def run_stages(
    stages: Sequence[Stage], command: Callable[[Stage, Path], Sequence[str]], out: Path, seconds: float
) -> list[StageResult]:
    """Run every stage, whatever the others do; time that a stage leaves is shared by those that follow."""
    out.mkdir(parents=True, exist_ok=True)
    results: list[StageResult] = []
    end_s = time.monotonic() + seconds
    for index, stage in enumerate(stages):
        left_s = end_s - time.monotonic()
        budget_s = max(1.0, left_s * stage.share / sum(later.share for later in stages[index:]))
        rows = out / f"{stage.name}.jsonl"
        results.append(_run_stage(stage, command(stage, rows), rows, budget_s))
        write_results(results, out)
    return results


def _run_stage(stage: Stage, words: Sequence[str], rows: Path, budget_s: float) -> StageResult:
    rows.write_text("")
    log, start_s = rows.with_suffix(".log"), time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(words, stdout=output, stderr=output, start_new_session=True)
        try:
            status = {0: "ok", SKIPPED_EXIT_CODE: "skipped"}.get(child.wait(budget_s), "failed")
        except subprocess.TimeoutExpired:
            status = "timeout"
        finally:
            _end_group(child)
    note = "" if status == "ok" else log.read_text(errors="replace").strip()[-LOG_CHARACTERS:]
    seconds = round(time.monotonic() - start_s, 1)
    return StageResult(stage.name, status, seconds, _read_rows(rows), note)


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """End what the stage started, too: a server left running would slow the next stage."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read_rows(path: Path) -> list[Row]:
    """Returns the rows; a line that was cut off by the time limit is left out."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def write_results(results: Sequence[StageResult], out: Path) -> None:
    (out / "results.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    (out / "results.md").write_text("\n".join(line for result in results for line in _markdown(result)) + "\n")


def _markdown(result: StageResult) -> list[str]:
    lines = [f"## {result.name}: {result.status} ({result.seconds} s)", ""]
    columns: list[str] = []
    for row in result.rows:
        if list(row) != columns:
            columns = list(row)
            lines += ["", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines.append("| " + " | ".join(_cell(value) for value in row.values()) + " |")
    return [*lines, "", *(["```", result.note, "```", ""] if result.note else [])]


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
