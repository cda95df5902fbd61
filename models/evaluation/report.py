"""The report of a run, and report.json, from which report.md and report.html are made.

Its header states the origin of the numbers: date, device, torch, bundle with fingerprint, commit and command.
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
from models.evaluation.derived import DERIVED
from models.evaluation.examinations import Examinations, examine
from models.evaluation.measurements import Conditions, Row
from models.evaluation.summary import Summary, row_errors, summarize

JSON_NAME = "report.json"


class Header(BaseModel):
    """The origin of a report's numbers.

    `load` is the load average of the last minute: seconds measured on a busy machine are not reliable.  `commit` is
    None outside a checkout.
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
    """The full report.  `rows` are those of summary and examinations, `notes` name the metrics that were not measured.

    `fid[task][name]` is the FID over all photos of a task, for the input, each mode and each tool.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    head: Header
    summary: Summary
    fid: dict[str, dict[str, float]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    examinations: Examinations = Field(default_factory=Examinations)
    rows: tuple[Row, ...]


def make_header(conditions: Conditions, command: str) -> Header:
    """Returns the header of a run that ends now."""
    return Header(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        device=device_name(conditions.device),
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # not on Windows
        torch=torch.__version__,
        python=platform.python_version(),
        conditions=conditions,
        commit=commit(Path(__file__).resolve().parents[2]),
        command=command,
    )


def device_name(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def commit(checkout: Path) -> str | None:
    """Returns the commit, with "+changes" if files differ from it; None if the folder is not the root of a checkout."""
    if not (checkout / ".git").exists():  # an installed copy may be inside another checkout
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
    header: Header,
    rows: Sequence[Row],
    notes: Sequence[str] = (),
    fid: dict[str, dict[str, float]] | None = None,
) -> Report:
    """Write report.json into a folder and return the report."""
    # the totals are those of the folder's photos, upright
    summary = summarize([row for row in rows if row.task not in DERIVED])
    report = Report(
        head=header,
        summary=summary.model_copy(update={"errors": row_errors(rows)}),
        fid=fid or {},
        notes=tuple(notes),
        examinations=examine(rows),
        rows=tuple(rows),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_NAME).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return report


def read_report(path: Path) -> Report:
    """Read a report.json, or the one in a folder.

    Raises:
        ControlsError: the file is not a report, or has another format version.
    """
    file = path / JSON_NAME if path.is_dir() else path
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ControlsError(f"cannot read {file}: {error.strerror}; expected the report.json of a run") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise ControlsError(f"{file} is not a report.json of `undegrade evaluate`: {where}: {first['msg']}") from error
