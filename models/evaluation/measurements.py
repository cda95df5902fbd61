"""Stores measured rows on disk, one JSON line per photo, so that a stopped run can continue.

A folder contains `run.json` (the conditions of the run) and `rows.jsonl` (the rows).  An infinite PSNR is written as
"Infinity", because JSON has no number for it.
"""

from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.bundle import Manifest
from models.errors import ControlsError
from models.evaluation.ssim import PSNR_CAP_DB

CONDITIONS, ROWS = "run.json", "rows.jsonl"

AUTO, TOLD = "auto", "told"
"""The modes of a bundle: the assessor decides, or the prompt names the expected label."""

ONLY = "only "
"""Start of the modes of a mixture: `only rain` repairs its rain and leaves the rest."""

Scores = dict[str, float]
"""A value for each of models.evaluation.ssim.METRICS if there is a ground truth, and for each learned metric."""


class Conditions(BaseModel):
    """The conditions that a row's numbers depend on; rows of different conditions never share a folder.

    `tile_px` is the side of the tiles of a second restoration.  `metrics` are the learned metrics.  `against` is the
    command or folder of each other tool by name: a tool can be added later, but its command or folder cannot change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str
    version: str
    fingerprint: str
    device: str
    crop_px: int
    seed: int
    steps: int | None = None
    max_passes: int | None = None
    tile_px: int | None = None
    modes: tuple[str, ...] = (AUTO, TOLD)
    metrics: tuple[str, ...] = ()
    against: dict[str, str] = Field(default_factory=dict)


def fingerprint(manifest: Manifest) -> str:
    """Returns a hash of everything that decides a bundle's results: networks, loop, degradations and weights.

    Descriptions, the version and the measured quality do not change it.
    """
    relevant = manifest.model_dump_json(include={"family", "degradations", "networks", "weights", "files"})
    return sha256(relevant.encode()).hexdigest()


class Restoration(BaseModel):
    """One restored photo: scores against the ground truth, the first assessment, the repairs and the stop reason.

    `peak` is its spectral peak (models.evaluation.spectrum); `drift` and `seam` compare it with its result in tiles, in
    levels of 255 (models.evaluation.tile_agreement).  The result of another tool has only scores and seconds, or an
    `error`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    scores: Scores = Field(default_factory=dict)  # empty without a ground truth
    found: dict[str, float] = Field(default_factory=dict)
    repaired: tuple[str, ...] = ()
    passes: int = 0
    stop_reason: str = ""
    seconds: float | None = None  # None if the tool ran outside this program
    peak: float | None = None
    drift: float | None = None
    seam: float | None = None
    error: str | None = None

    @property
    def label(self) -> str:
        """The dominant label of the first assessment; empty without an assessment."""
        return max(self.found, key=lambda name: self.found[name], default="")


class Row(BaseModel):
    """The measurements of one photo: `scores` of the input and `runs` by mode or tool, or an `error` instead.

    `peak` and `truth_peak` are the spectral peaks of the input and the ground truth.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    task: str
    subset: str
    name: str
    expected: str | None = None
    width_px: int = 0
    height_px: int = 0
    scores: Scores = Field(default_factory=dict)
    peak: float | None = None
    truth_peak: float | None = None
    runs: dict[str, Restoration] = Field(default_factory=dict)
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.task, self.name

    def psnr_gain_db(self, mode: str) -> float | None:
        """Returns the PSNR of a mode minus that of the input, both capped, in dB; None if one is missing."""
        run = self.runs.get(mode)
        if run is None or "psnr" not in run.scores or "psnr" not in self.scores:
            return None
        return min(run.scores["psnr"], PSNR_CAP_DB) - min(self.scores["psnr"], PSNR_CAP_DB)


class RowLog:
    """The rows of a folder, in memory and on disk.  A later row of the same photo replaces the earlier one."""

    def __init__(self, folder: Path, conditions: Conditions) -> None:
        self.conditions = conditions
        self._path = folder / ROWS
        self._rows: dict[tuple[str, str], Row] = {}

    @classmethod
    def open(cls, folder: Path, conditions: Conditions, *, restart: bool = False) -> "RowLog":
        """Open or create the log of a folder; `restart` deletes its rows.

        Raises:
            ControlsError: the rows were measured under other conditions, which the message names.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if restart:
            (folder / ROWS).unlink(missing_ok=True)
        exists = (folder / ROWS).exists()
        log = cls(folder, _merge_conditions(folder, conditions) if exists else conditions)
        if exists:
            log._read()
        (folder / CONDITIONS).write_text(log.conditions.model_dump_json(indent=2) + "\n")
        return log

    @property
    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def measured(self, key: tuple[str, str]) -> Row | None:
        """Returns the row of a photo; None if there is none or if it failed, so that it is measured again."""
        row = self._rows.get(key)
        return row if row is not None and row.error is None else None

    def append(self, row: Row) -> None:
        self._rows[row.key] = row
        with self._path.open("a") as file:
            file.write(row.model_dump_json() + "\n")

    def _read(self) -> None:
        text = self._path.read_text()
        complete = text[: text.rfind("\n") + 1]
        if complete != text:  # the process was killed while it wrote the last line
            self._path.write_text(complete)
        for line in complete.splitlines():
            try:
                row = Row.model_validate_json(line)
            except ValidationError as error:
                raise ControlsError(
                    f"{self._path} contains an invalid row: {line[:60]!r}; measure again with --restart"
                ) from error
            self._rows[row.key] = row


def _merge_conditions(folder: Path, conditions: Conditions) -> Conditions:
    """Returns the stored conditions of a folder, extended by the other tools of this run.

    Raises:
        ControlsError: the stored conditions differ from those of this run.
    """
    try:
        earlier = Conditions.model_validate_json((folder / CONDITIONS).read_bytes())
    except (OSError, ValidationError) as error:
        raise ControlsError(
            f"cannot read the conditions of the rows in {folder}; use another --out, or --restart"
        ) from error
    before, now = _condition_values(earlier), _condition_values(conditions)
    # a tool that appears in only one of the two is not a conflict
    differing = [name for name in now if now[name] != before.get(name, now[name])]
    if differing:
        conflicts = ", ".join(f"{name} {before[name]!r} instead of {now[name]!r}" for name in differing)
        raise ControlsError(f"the rows in {folder} have {conflicts}; use another --out, or --restart")
    return conditions.model_copy(update={"against": {**earlier.against, **conditions.against}})


def _condition_values(conditions: Conditions) -> dict[str, object]:
    """Returns every condition by name, and one entry for each tool."""
    values = {name: getattr(conditions, name) for name in Conditions.model_fields if name != "against"}
    return {**values, **{f"against {name}": source for name, source in conditions.against.items()}}
