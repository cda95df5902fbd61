"""What a report says beyond means: grids, turned photos, mixtures of two kinds of damage, and tiles.

Each examination has a goal, and counts the photos or groups that miss it.  PSNR gains are in dB.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from models.evaluation.derived import DERIVED, MIXED, TURNED, turned_name
from models.evaluation.measurements import AUTO, ONLY, Row
from models.evaluation.spectrum import Peaks

MOST_GROWTH = 3.0
"""Goal of grids: the spectral peak of the result relative to that of the input or the truth."""
TURN_DB, TURN_SHARE = 0.3, 0.02
"""Goal of turned photos: gain and share of right labels differ from upright by at most this much."""
MIXTURE_DB = 1.0
"""Goal of mixtures: the mean gain over the better single repair."""
TILE_LEVELS = 3.0
"""Goal of tiles: the largest difference of local brightness."""


class GridTally(BaseModel):
    """Spectral peaks of a task in the automatic mode: means, the largest growth, and the photos that miss the goal."""

    model_config = ConfigDict(frozen=True)

    task: str
    pictures: int
    before: float
    after: float
    truth: float | None
    largest_growth: float
    with_grid: tuple[str, ...]


class TurnTally(BaseModel):
    """A task in one turn beside the same photos upright; gains None without ground truths.

    `worse` names the photos that gain less by more than the goal allows, worst first.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    turns: int
    pictures: int
    labeled: int
    right_upright: int
    right: int
    gain_upright_db: float | None
    gain_db: float | None
    worse: tuple[str, ...] = ()

    @property
    def missed(self) -> bool:
        """Whether the goal is missed."""
        label = self.labeled and abs(self.right - self.right_upright) > TURN_SHARE * self.labeled
        gains = self.gain_db, self.gain_upright_db
        return bool(label) or (gains[0] is not None and gains[1] is not None and abs(gains[0] - gains[1]) > TURN_DB)


class MixtureTally(BaseModel):
    """A mixture, or all of them (`kinds` "all"): mean PSNR of input, better single repair and automatic mode."""

    model_config = ConfigDict(frozen=True)

    kinds: str
    pictures: int
    before_db: float
    single_db: float
    auto_db: float
    passes: float


class TileTally(BaseModel):
    """A task restored in tiles: largest drift and seam in levels of 255, and the photos that miss the goal."""

    model_config = ConfigDict(frozen=True)

    task: str
    pictures: int
    drift: float
    seam: float
    missed: tuple[str, ...]


class Examinations(BaseModel):
    """Everything that was examined; empty where nothing was."""

    model_config = ConfigDict(frozen=True)

    grids: tuple[GridTally, ...] = ()
    turns: tuple[TurnTally, ...] = ()
    mixtures: tuple[MixtureTally, ...] = ()
    tiles: tuple[TileTally, ...] = ()


def examine(rows: Sequence[Row]) -> Examinations:
    """Returns the examinations of rows; failed rows are left out."""
    good = [row for row in rows if row.error is None and AUTO in row.runs]
    upright = [row for row in good if row.task not in DERIVED]
    return Examinations(
        grids=tuple(_grids(task, of) for task, of in _by_task(row for row in upright if row.peak is not None)),
        turns=tuple(_turns(good)),
        mixtures=tuple(_mixtures([row for row in good if row.task == MIXED])),
        tiles=tuple(_tiles(task, of) for task, of in _by_task(row for row in good if row.runs[AUTO].drift is not None)),
    )


def growth(row: Row, mode: str = AUTO) -> float | None:
    """Returns how much a mode raised the spectral peak of a photo; None if it was not measured."""
    after = row.runs[mode].peak if mode in row.runs else None
    if row.peak is None or after is None:
        return None
    return Peaks(before=row.peak, after=after, truth=row.truth_peak, center=(0, 0)).growth


def _by_task(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    return sorted(tasks.items())


def _grids(task: str, rows: Sequence[Row]) -> GridTally:
    found = {row.name: growth(row) or 0.0 for row in rows}
    truths = [row.truth_peak for row in rows if row.truth_peak is not None]
    return GridTally(
        task=task,
        pictures=len(rows),
        before=fmean(row.peak or 0.0 for row in rows),
        after=fmean(row.runs[AUTO].peak or 0.0 for row in rows),
        truth=fmean(truths) if truths else None,
        largest_growth=max(found.values()),
        with_grid=_worst_first({name: value for name, value in found.items() if value > MOST_GROWTH}),
    )


def _worst_first(values: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{name} ({values[name]:.1f})" for name in sorted(values, key=lambda name: -values[name]))


def _turns(rows: Sequence[Row]) -> Iterable[TurnTally]:
    turned = {row.name: row for row in rows if row.task == TURNED}
    for task, upright in _by_task(row for row in rows if row.task not in DERIVED):
        for turns in (1, 2, 3):
            both = [
                (row, turned[name]) for row in upright if (name := turned_name(row.task, row.name, turns)) in turned
            ]
            if both:
                yield _turn(task, turns, both)


def _turn(task: str, turns: int, both: Sequence[tuple[Row, Row]]) -> TurnTally:
    labeled = [(row, other) for row, other in both if row.expected is not None]
    gains = [(row.psnr_gain_db(AUTO), other.psnr_gain_db(AUTO)) for row, other in both]
    known = [(gain, other) for gain, other in gains if gain is not None and other is not None]
    losses = {
        row.name: gain - other
        for (row, _), (gain, other) in zip(both, gains, strict=True)
        if gain is not None and other is not None and gain - other > TURN_DB
    }
    return TurnTally(
        task=task,
        turns=turns,
        pictures=len(both),
        labeled=len(labeled),
        right_upright=sum(row.runs[AUTO].label == row.expected for row, _ in labeled),
        right=sum(other.runs[AUTO].label == other.expected for _, other in labeled),
        gain_upright_db=fmean(gain for gain, _ in known) if known else None,
        gain_db=fmean(other for _, other in known) if known else None,
        worse=tuple(f"{name} (-{losses[name]:.1f} dB)" for name in sorted(losses, key=lambda name: -losses[name])),
    )


def _mixtures(rows: Sequence[Row]) -> Iterable[MixtureTally]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if any(mode.startswith(ONLY) for mode in row.runs):
            groups.setdefault(row.subset, []).append(row)
    everything = [row for members in groups.values() for row in members]
    for kinds, members in [*groups.items(), *([("all", everything)] if everything else [])]:
        yield MixtureTally(
            kinds=kinds,
            pictures=len(members),
            before_db=fmean(row.scores["psnr"] for row in members),
            single_db=fmean(better_single_db(row) for row in members),
            auto_db=fmean(row.runs[AUTO].scores["psnr"] for row in members),
            passes=fmean(row.runs[AUTO].passes for row in members),
        )


def better_single_db(row: Row) -> float:
    """Returns the PSNR of the better of a mixture's single repairs."""
    return max(run.scores["psnr"] for mode, run in row.runs.items() if mode.startswith(ONLY))


def _tiles(task: str, rows: Sequence[Row]) -> TileTally:
    drifts = {row.name: row.runs[AUTO].drift or 0.0 for row in rows}
    return TileTally(
        task=task,
        pictures=len(rows),
        drift=max(drifts.values()),
        seam=max(row.runs[AUTO].seam or 0.0 for row in rows),
        missed=_worst_first({name: drift for name, drift in drifts.items() if drift > TILE_LEVELS}),
    )
