"""What a run has to say, and the files that say it: report.json for programs, report.md and report.html for people.

Its head says where the numbers come from: date, device, torch, bundle with fingerprint, commit, command.
"""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import ControlsError
from models.evaluation.measurements import Conditions, Row
from models.evaluation.summary import Summary, summarize

JSON_NAME = "report.json"


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
    """Everything; `rows` are those the summary is made of, `notes` say what was asked for and could not be measured.

    `fid[task][name]` is of a whole task's pictures: the input's, each mode's and each tool's.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    head: Head
    summary: Summary
    fid: dict[str, dict[str, float]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
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


def write_report(
    folder: Path,
    of: Head,
    rows: Sequence[Row],
    notes: Sequence[str] = (),
    fid: dict[str, dict[str, float]] | None = None,
) -> Report:
    """Write report.json into a folder; returns what it says."""
    report = Report(head=of, summary=summarize(rows), fid=fid or {}, notes=tuple(notes), rows=tuple(rows))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_NAME).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return report


def read_report(path: Path) -> Report:
    """A report.json, or the one in a folder.

    Raises:
        ControlsError: it is none, or one of a version that measured otherwise.
    """
    file = path / JSON_NAME if path.is_dir() else path
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ControlsError(f"{file} cannot be read: {error.strerror}; expected the report.json of a run") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ControlsError(f"{file} is no report.json of `undegrade evaluate`: {where}: {first['msg']}") from error
