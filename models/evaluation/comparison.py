"""What changed between two reports: the same pictures in both, subset by subset."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from models.errors import ControlsError
from models.evaluation.measurements import AUTO, TOLD, Conditions, Row
from models.evaluation.psnr_ssim import PSNR_CAP_DB
from models.evaluation.report import Report
from models.evaluation.summary import UNTOUCHED_DB
from models.evaluation.tables import NOTHING, Grid, signed
from models.vocabulary import CLEAN

MAX_LOSS_DB = 0.1
"""What two machines' rounding may cost a mean, and no change of weights that matters."""

CHANGES = "Against the earlier report: PSNR of the same pictures"

Pair = tuple[Row, Row]
"""One picture's old and new row."""


class Change(BaseModel):
    """One mode over the pictures of a subset that both reports measured; PSNR means in dB, capped."""

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
    """Two reports side by side.  `untouched` of `clean` photographs came back within 40 dB, before and now."""

    model_config = ConfigDict(frozen=True)

    changes: tuple[Change, ...]
    clean: int
    untouched: tuple[int, int]
    labeled: int
    right: tuple[int, int]
    only_old: int
    only_new: int
    others: tuple[str, ...]
    max_loss_db: float

    def is_loss(self, change: Change) -> bool:
        return change.difference_db < -self.max_loss_db

    @property
    def losses(self) -> list[str]:
        """What got worse: subsets by more than `max_loss_db`, clean photographs by any."""
        said = [
            f"{one.subset}, {one.mode}: {signed(one.difference_db)} dB" for one in self.changes if self.is_loss(one)
        ]
        before, now = self.untouched
        return said + ([f"clean photographs left alone: {now} instead of {before}"] if now < before else [])


def refuse_incomparable(old: Report, crop_px: int, asked: Iterable[tuple[str, str]]) -> None:
    """Told before an hour's run: numbers of other crops are of other pixels, and other pictures say nothing.

    Raises:
        ControlsError: the report is of another crop, or of none of the pictures asked for.
    """
    before = old.head.conditions.crop_px
    if before != crop_px:
        raise ControlsError(
            f"the old report is of {_crop(before)} and this run of {_crop(crop_px)}; give --crop {before} to compare"
        )
    if not {row.key for row in old.rows} & set(asked):
        raise ControlsError("the old report holds none of the pictures asked for; compare runs of the same tasks")


def compare(old: Report, new: Report, max_loss_db: float = MAX_LOSS_DB) -> Comparison:
    """The pictures that both measured, in our own modes; another tool's change says nothing of ours."""
    before, now = ({row.key: row for row in report.rows if row.error is None} for report in (old, new))
    pairs = [(before[key], now[key]) for key in now if key in before]
    clean = [(one.runs[AUTO], two.runs[AUTO]) for one, two in pairs if one.task == CLEAN]
    labeled = [(one, two) for one, two in pairs if one.expected is not None and one.expected == two.expected]
    return Comparison(
        changes=tuple(_changes(pairs)),
        clean=len(clean),
        untouched=_both([(a.scores["psnr"] >= UNTOUCHED_DB, b.scores["psnr"] >= UNTOUCHED_DB) for a, b in clean]),
        labeled=len(labeled),
        right=_both([(_is_right(one), _is_right(two)) for one, two in labeled]),
        only_old=len(before.keys() - now.keys()),
        only_new=len(now.keys() - before.keys()),
        others=tuple(_others(old.head.conditions, new.head.conditions)),
        max_loss_db=max_loss_db,
    )


def changes_grid(comparison: Comparison) -> Grid:
    """Old, new and difference, a line for each subset and mode; those that lost more than allowed are marked."""
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
    return Grid(columns=("task", "subset", "mode", "n", "old", "new", "change", ""), lines=tuple(lines), whole=lost)


def changes_lines(comparison: Comparison) -> list[str]:
    """What the table does not hold."""
    (untouched, untouched_now), (right, right_now) = comparison.untouched, comparison.right
    lines = [
        f"labels right: {right} -> {right_now} of {comparison.labeled}",
        f"clean photographs within {UNTOUCHED_DB:.0f} dB: {untouched} -> {untouched_now} of {comparison.clean}",
    ]
    if comparison.only_old or comparison.only_new:
        lines.append(f"left out: {comparison.only_old} measured only before, {comparison.only_new} only now")
    return [*lines, *(f"not the same: {other}" for other in comparison.others)]


def _crop(side_px: int) -> str:
    return f"crops of {side_px} px" if side_px else "whole pictures"


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


def _is_right(row: Row) -> bool:
    return AUTO in row.runs and row.runs[AUTO].label == row.expected


def _both(answers: Sequence[tuple[bool, bool]]) -> tuple[int, int]:
    return sum(old for old, _ in answers), sum(new for _, new in answers)


def _others(old: Conditions, new: Conditions) -> list[str]:
    """Conditions that differ and may explain a difference; the bundle is what is compared."""
    names = ("bundle", "version", "fingerprint", "device", "seed", "steps", "max_passes")
    before, now = ({name: str(getattr(of, name) or NOTHING)[:16] for name in names} for of in (old, new))
    return [f"{name} {before[name]} -> {now[name]}" for name in names if before[name] != now[name]]
