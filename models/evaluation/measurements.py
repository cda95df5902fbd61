"""Measured rows on disk: one JSON line a picture, appended while a run goes on, so that a stopped run goes on later.

A folder holds `run.json`, what its rows depend on, and `rows.jsonl`.  An infinite PSNR is written as "Infinity", since
JSON has no number for it.
"""

from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.bundle import Manifest
from models.errors import ControlsError
from models.evaluation.psnr_ssim import PSNR_CAP_DB

CONDITIONS, ROWS = "run.json", "rows.jsonl"

AUTO, TOLD = "auto", "told"
"""Our modes: the assessor decides, or the user says what is wrong."""

Scores = dict[str, float]
"""A value for each of metrics.METRICS where there is a truth, and for what perceptual.py adds."""


class Conditions(BaseModel):
    """What a row's numbers depend on; rows of different conditions never share a folder.

    `metrics` are those beyond metrics.METRICS.  `against` says where each other tool's pictures come from: tools may
    join later, but none changes under its name.
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
    modes: tuple[str, ...] = (AUTO, TOLD)
    metrics: tuple[str, ...] = ()
    against: dict[str, str] = Field(default_factory=dict)


def fingerprint(manifest: Manifest) -> str:
    """What decides a bundle's results: networks, loop, degradations and the weights' hashes, but no word of prose.

    A bundle keeps it when its measured quality is written into its manifest.
    """
    deciding = manifest.model_dump_json(include={"family", "degradations", "networks", "weights", "files"})
    return sha256(deciding.encode()).hexdigest()


class Run(BaseModel):
    """One restoration: how near it came to the truth, what was found first, what was repaired, why it stopped.

    Another tool's has scores and seconds alone; `error` is why it has not even those.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    scores: Scores = Field(default_factory=dict)  # empty without a ground truth
    found: dict[str, float] = Field(default_factory=dict)
    repaired: tuple[str, ...] = ()
    passes: int = 0
    stop_reason: str = ""
    seconds: float | None = None  # None where the picture was made elsewhere
    error: str | None = None

    @property
    def label(self) -> str:
        """The dominant label of the first assessment; empty where nothing was assessed."""
        return max(self.found, key=lambda name: self.found[name], default="")


class Row(BaseModel):
    """What was measured of one picture; `scores` are the input's own, `runs` by mode, `error` why there is nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    task: str
    subset: str
    name: str
    expected: str | None = None
    width_px: int = 0
    height_px: int = 0
    scores: Scores = Field(default_factory=dict)
    runs: dict[str, Run] = Field(default_factory=dict)
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.task, self.name

    def gain_db(self, mode: str) -> float | None:
        """PSNR of a mode over the input's, both capped; None where one is missing."""
        run = self.runs.get(mode)
        if run is None or "psnr" not in run.scores or "psnr" not in self.scores:
            return None
        return min(run.scores["psnr"], PSNR_CAP_DB) - min(self.scores["psnr"], PSNR_CAP_DB)


class RowLog:
    """The rows of a folder, in memory and on disk.  A later row of the same picture replaces the earlier one."""

    def __init__(self, folder: Path, conditions: Conditions) -> None:
        self.conditions = conditions
        self._path = folder / ROWS
        self._rows: dict[tuple[str, str], Row] = {}

    @classmethod
    def open(cls, folder: Path, conditions: Conditions, *, restart: bool = False) -> "RowLog":
        """The log of a folder, made where there is none; `restart` forgets what it holds.

        Raises:
            ControlsError: its rows were measured under other conditions; the message names them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if restart:
            (folder / ROWS).unlink(missing_ok=True)
        there = (folder / ROWS).exists()
        log = cls(folder, _joined(folder, conditions) if there else conditions)
        if there:
            log._read()
        (folder / CONDITIONS).write_text(log.conditions.model_dump_json(indent=2) + "\n")
        return log

    @property
    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def measured(self, key: tuple[str, str]) -> Row | None:
        """A picture's row; one that ended in an error counts for nothing and is tried again."""
        row = self._rows.get(key)
        return row if row is not None and row.error is None else None

    def append(self, row: Row) -> None:
        self._rows[row.key] = row
        with self._path.open("a") as file:
            file.write(row.model_dump_json() + "\n")

    def _read(self) -> None:
        text = self._path.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a kill cut the last line short
            self._path.write_text(whole)
        for line in whole.splitlines():
            try:
                row = Row.model_validate_json(line)
            except ValidationError as error:
                raise ControlsError(
                    f"{self._path} holds a line that is no row: {line[:60]!r}; start over with --restart"
                ) from error
            self._rows[row.key] = row


def _joined(folder: Path, conditions: Conditions) -> Conditions:
    """The conditions of a folder that is there, with the tools of this run beside its own.

    Raises:
        ControlsError: they are others.
    """
    try:
        earlier = Conditions.model_validate_json((folder / CONDITIONS).read_bytes())
    except (OSError, ValidationError) as error:
        raise ControlsError(f"{folder} holds rows of unknown conditions; give another --out, or --restart") from error
    before, now = _flat(earlier), _flat(conditions)
    # a tool that only one of the two names is no contradiction
    differing = [name for name in now if now[name] != before.get(name, now[name])]
    if differing:
        others = ", ".join(f"{name} {before[name]!r} instead of {now[name]!r}" for name in differing)
        raise ControlsError(f"{folder} holds rows with {others}; give another --out, or --restart")
    return conditions.model_copy(update={"against": {**earlier.against, **conditions.against}})


def _flat(conditions: Conditions) -> dict[str, object]:
    """Every condition by name, each tool a name of its own."""
    alone = {name: getattr(conditions, name) for name in Conditions.model_fields if name != "against"}
    return {**alone, **{f"against {name}": source for name, source in conditions.against.items()}}
