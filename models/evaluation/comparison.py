"""Compares two reports: PSNR of the photos that both measured, label accuracy and clean photos."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from models.errors import ControlsError
from models.evaluation.measurements import AUTO, TOLD, Conditions, Row
from models.evaluation.report import Report
from models.evaluation.ssim import PSNR_CAP_DB
from models.evaluation.summary import UNCHANGED_DB
from models.evaluation.tables import MISSING, Grid, signed
from models.vocabulary import CLEAN

MAX_LOSS_DB = 0.1
"""Rounding on two machines changes a mean by less than this; a relevant change of weights changes it by more."""

TITLE = "Comparison with the earlier report: PSNR of the same photos"

Pair = tuple[Row, Row]
"""The old and the new row of one photo."""


class Change(BaseModel):
    """Mean PSNR of one mode over the photos of a subset that both reports measured, in dB, capped."""

    model_config = ConfigDict(frozen=True)

    task: str
    subset: str
    mode: str
    pictures: int
    old_db: float
    new_db: float

    @property
    def difference_db(self) -> float:
        return self.new_db - self.old_db


class Comparison(BaseModel):
    """Two reports side by side; pairs of numbers are (old, new).

    `unchanged` counts those of the `clean_photos` that stayed within 40 dB of their original, `correct` those of the
    `labeled` photos with the expected label.
    """

    model_config = ConfigDict(frozen=True)

    changes: tuple[Change, ...]
    clean_photos: int
    unchanged: tuple[int, int]
    labeled: int
    correct: tuple[int, int]
    only_old: int
    only_new: int
    differing_conditions: tuple[str, ...]
    max_loss_db: float

    def is_loss(self, change: Change) -> bool:
        return change.difference_db < -self.max_loss_db

    @property
    def losses(self) -> list[str]:
        """Lists subsets that lost more than `max_loss_db`, and any loss of unchanged clean photos."""
        losses = [
            f"{change.subset}, {change.mode}: {signed(change.difference_db)} dB"
            for change in self.changes
            if self.is_loss(change)
        ]
        old, new = self.unchanged
        return losses + ([f"unchanged clean photos: {new} instead of {old}"] if new < old else [])


def refuse_incomparable(old: Report, crop_px: int, requested: Iterable[tuple[str, str]]) -> None:
    """Refuse a report that cannot be compared, before the run starts.

    Args:
        requested: the (task, name) of each photo of the new run.

    Raises:
        ControlsError: the report has another crop size, or none of the requested photos.
    """
    old_crop_px = old.head.conditions.crop_px
    if old_crop_px != crop_px:
        raise ControlsError(
            f"the earlier report measured {_crop(old_crop_px)}, and this run measures {_crop(crop_px)}; "
            f"use --crop {old_crop_px} to compare them"
        )
    if not {row.key for row in old.rows} & set(requested):
        raise ControlsError("the earlier report contains none of the requested photos; compare runs of the same tasks")


def compare(old: Report, new: Report, max_loss_db: float = MAX_LOSS_DB) -> Comparison:
    """Compare the photos that both reports measured, in the modes of the bundle; other tools do not count."""
    old_rows, new_rows = ({row.key: row for row in report.rows if row.error is None} for report in (old, new))
    pairs = [(old_rows[key], new_rows[key]) for key in new_rows if key in old_rows]
    clean = [(before, after) for before, after in pairs if before.task == CLEAN]
    labeled = [pair for pair in pairs if pair[0].expected is not None and pair[0].expected == pair[1].expected]
    return Comparison(
        changes=tuple(_changes(pairs)),
        clean_photos=len(clean),
        unchanged=_count(_is_unchanged, clean),
        labeled=len(labeled),
        correct=_count(_is_correct, labeled),
        only_old=len(old_rows.keys() - new_rows.keys()),
        only_new=len(new_rows.keys() - old_rows.keys()),
        differing_conditions=tuple(_differing_conditions(old.head.conditions, new.head.conditions)),
        max_loss_db=max_loss_db,
    )


def changes_grid(comparison: Comparison) -> Grid:
    """Returns old, new and change for each subset and mode; losses above the limit are marked."""
    lines = [
        (
            change.task,
            change.subset,
            change.mode,
            str(change.pictures),
            f"{change.old_db:.2f}",
            f"{change.new_db:.2f}",
            signed(change.difference_db),
            "worse" if comparison.is_loss(change) else "",
        )
        for change in comparison.changes
    ]
    lost = frozenset(index for index, line in enumerate(lines) if line[-1])
    return Grid(columns=("task", "subset", "mode", "n", "old", "new", "change", ""), lines=tuple(lines), totals=lost)


def changes_notes(comparison: Comparison) -> list[str]:
    """Returns what the table does not show: label accuracy, clean photos, and other differences between the runs."""
    (unchanged, unchanged_now), (correct, correct_now) = comparison.unchanged, comparison.correct
    lines = [
        f"correct labels: {correct} -> {correct_now} of {comparison.labeled}",
        f"clean photos within {UNCHANGED_DB:.0f} dB: {unchanged} -> {unchanged_now} of {comparison.clean_photos}",
    ]
    if comparison.only_old or comparison.only_new:
        lines.append(
            f"not compared: {comparison.only_old} only in the old report, {comparison.only_new} only in the new one"
        )
    return [*lines, *(f"different: {condition}" for condition in comparison.differing_conditions)]


def _crop(side_px: int) -> str:
    return f"crops of {side_px} px" if side_px else "whole photos"


def _changes(pairs: Sequence[Pair]) -> list[Change]:
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for old, new in pairs:
        for mode in (AUTO, TOLD):
            values = [_psnr(row, mode) for row in (old, new)]
            if new.task != CLEAN and values[0] is not None and values[1] is not None:
                groups.setdefault((new.task, new.subset, mode), []).append((values[0], values[1]))
    return [
        Change(
            task=task,
            subset=subset,
            mode=mode,
            pictures=len(values),
            old_db=fmean(old for old, _ in values),
            new_db=fmean(new for _, new in values),
        )
        for (task, subset, mode), values in sorted(groups.items())
    ]


def _psnr(row: Row, mode: str) -> float | None:
    run = row.runs.get(mode)
    return None if run is None or "psnr" not in run.scores else min(run.scores["psnr"], PSNR_CAP_DB)


def _is_correct(row: Row) -> bool:
    return AUTO in row.runs and row.runs[AUTO].label == row.expected


def _is_unchanged(row: Row) -> bool:
    return row.runs[AUTO].scores["psnr"] >= UNCHANGED_DB


def _count(condition: Callable[[Row], bool], pairs: Sequence[Pair]) -> tuple[int, int]:
    return sum(condition(old) for old, _ in pairs), sum(condition(new) for _, new in pairs)


def _differing_conditions(old: Conditions, new: Conditions) -> list[str]:
    """Returns the conditions that differ between the runs and may explain a change."""
    names = ("bundle", "version", "fingerprint", "device", "seed", "steps", "max_passes")
    before, now = ({name: str(getattr(run, name) or MISSING)[:16] for name in names} for run in (old, new))
    return [f"{name} {before[name]} -> {now[name]}" for name in names if before[name] != now[name]]
