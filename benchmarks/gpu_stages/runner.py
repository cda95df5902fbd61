"""Runs stages one after the other, each in a process of its own with its share of the time.

A stage writes one JSON object a line as it measures, so what it found before a failure or its time limit is kept.  The
folder of results has few and small files, because a GPU machine may send back no more than 8 files of 16 MiB:

    results.json, results.md   written anew after every stage
    log.txt                    the output of all stages, of each at most its end
    STAGE.jsonl                only while a stage runs: its rows, in case the whole program is ended
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SKIPPED_EXIT_CODE = 77
NOTE_CHARACTERS = 1500
MAX_LOG_BYTES, MAX_ROWS_BYTES = 2**20, 2**20
"""Of one stage: seven of them stay below half of what may come back."""
LEAST_S = 5.0
"""With less time than this, a stage is not started: it would only load its libraries."""
END_S = 10.0
"""How long a killed process may take to end; one that waits for a broken driver may never do so."""


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


Command = Callable[[Stage, Path, float], Sequence[str]]
"""(stage, file for its rows, its seconds) -> the words that run it."""


def run_stages(stages: Sequence[Stage], command: Command, out: Path, seconds: float) -> list[StageResult]:
    """Run every stage, whatever the others do; time that a stage leaves is shared by those that follow."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.txt").write_bytes(b"")
    results: list[StageResult] = []
    end_s = time.monotonic() + seconds
    for index, stage in enumerate(stages):
        budget_s = (end_s - time.monotonic()) * stage.share / sum(later.share for later in stages[index:])
        if end_s - time.monotonic() < LEAST_S:
            results.append(StageResult(stage.name, "skipped", 0.0, note="no time was left"))
        else:
            results.append(_run_stage(stage, command, out, max(LEAST_S, budget_s)))
        write_results(results, out)
    return results


def _run_stage(stage: Stage, command: Command, out: Path, budget_s: float) -> StageResult:
    rows, start_s = out / f"{stage.name}.jsonl", time.monotonic()
    rows.write_text("")
    with tempfile.TemporaryFile() as output:
        words = command(stage, rows, budget_s)
        child = subprocess.Popen(words, stdout=output, stderr=output, start_new_session=True)
        try:
            status = {0: "ok", SKIPPED_EXIT_CODE: "skipped"}.get(child.wait(budget_s), "failed")
        except subprocess.TimeoutExpired:
            status = "timeout"
        finally:
            _end_group(child)
        output.seek(max(0, output.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
        log = output.read()
    with (out / "log.txt").open("ab") as all_logs:
        all_logs.write(f"=== {stage.name}: {status}\n".encode() + log + b"\n")
    found = _read_rows(rows)
    rows.unlink()
    ended = f"it was ended after {budget_s:.0f} s" if status == "timeout" else f"its exit code is {child.returncode}"
    note = "" if status == "ok" else log.decode(errors="replace").strip()[-NOTE_CHARACTERS:] or ended
    return StageResult(stage.name, status, round(time.monotonic() - start_s, 1), found, note)


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """End what the stage started, too: a server left running would slow the next stage."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(END_S)


def _read_rows(path: Path) -> list[Row]:
    """Returns the rows; a line that was cut off by the time limit is left out."""
    found = []
    for line in path.read_text()[:MAX_ROWS_BYTES].splitlines():
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
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/").replace("\n", " ")
