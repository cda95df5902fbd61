"""Summarizes measured rows: means, PSNR gain, label accuracy, the confusion matrix and clean photos.

PSNR is in dB.  The PSNR of a photo equal to its ground truth is infinite and counts as `PSNR_CAP_DB`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict, Field

from models.evaluation.measurements import AUTO, TOLD, Restoration, Row, Scores
from models.evaluation.ssim import PSNR_CAP_DB
from models.vocabulary import CLEAN

UNCHANGED_DB = 40.0
"""A clean photo with at least this PSNR to its original counts as unchanged."""
WORSE_DB = 0.1
"""A pair with a PSNR gain below -WORSE_DB is listed as worse."""


class ModeTally(BaseModel):
    """One mode or tool over a group of photos; `scores` and `gain_db` are means over the `pairs` with a ground truth.

    `passes_taken` and `stops` count photos by passes and by stop reason; they are empty for another tool.  `seconds`
    is a mean per photo, None if unknown.  `errors` counts failed photos, which no other field includes.
    """

    model_config = ConfigDict(frozen=True)

    pictures: int
    pairs: int
    scores: Scores
    gain_db: float | None
    seconds: float | None
    slowest_s: float | None = None
    passes: float
    passes_taken: dict[int, int] = Field(default_factory=dict)
    stops: dict[str, int]
    errors: int = 0


class Tally(BaseModel):
    """A subset, a task (subset None) or all pairs (task None).  `right` of `labeled` photos got the expected label."""

    model_config = ConfigDict(frozen=True)

    task: str | None
    subset: str | None
    pictures: int
    pairs: int
    errors: int
    scores: Scores
    modes: dict[str, ModeTally]
    labeled: int
    right: int


class ToolOnCleanPhotos(BaseModel):
    """Another tool on clean photos: the number within 40 dB of their original, and the mean PSNR, capped."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    untouched: int
    mean_psnr: float


class CleanTally(BaseModel):
    """Clean photos in the automatic mode, measured against their originals; `others` by tool."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    errors: int
    found_clean: int
    untouched: int
    changed_at_all: int
    mean_psnr: float
    worst_psnr: float  # capped
    seconds: float
    others: dict[str, ToolOnCleanPhotos] = Field(default_factory=dict)


class WorsePair(BaseModel):
    """A pair with a negative PSNR gain in the automatic mode."""

    model_config = ConfigDict(frozen=True)

    task: str
    name: str
    expected: str | None
    found: str
    repaired: tuple[str, ...]
    gain_db: float


class Summary(BaseModel):
    """The content of a report.  `confusion[expected][found]` counts first labels, including those of clean photos.

    The keys of `errors` are TASK/NAME, or TASK/NAME (TOOL) for another tool.
    """

    model_config = ConfigDict(frozen=True)

    overall: Tally
    tasks: tuple[Tally, ...]
    subsets: tuple[Tally, ...]
    clean: CleanTally | None
    confusion: dict[str, dict[str, int]]
    hurt: tuple[WorsePair, ...]
    errors: dict[str, str]

    @property
    def modes(self) -> list[str]:
        """Every mode and tool that ran, our modes first."""
        return _modes_in_order(mode for tally in self.tasks for mode in tally.modes)


def summarize(rows: Sequence[Row], first: str = AUTO) -> Summary:
    """Summarize rows; labels, clean photos and worse pairs are those of the mode `first`."""
    pairs = [row for row in rows if row.task != CLEAN]
    tasks: dict[str, list[Row]] = {}
    subsets: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(pairs, key=_by_subset):
        tasks.setdefault(row.task, []).append(row)
        subsets.setdefault((row.task, row.subset), []).append(row)
    return Summary(
        overall=_tally([row for row in pairs if "psnr" in row.scores or row.error], None, None, first),
        tasks=tuple(_tally(members, task, None, first) for task, members in tasks.items()),
        subsets=tuple(_tally(members, task, subset, first) for (task, subset), members in subsets.items()),
        clean=_clean([row for row in rows if row.task == CLEAN], first),
        confusion=_confusion(rows, first),
        hurt=_worse_pairs(pairs, first),
        errors=row_errors(rows),
    )


def row_errors(rows: Iterable[Row]) -> dict[str, str]:
    """Returns the error messages by photo, and by photo and tool."""
    errors: dict[str, str] = {}
    for row in rows:
        if row.error is not None:
            errors[f"{row.task}/{row.name}"] = row.error
        errors |= {
            f"{row.task}/{row.name} ({mode})": run.error for mode, run in row.runs.items() if run.error is not None
        }
    return errors


def _by_subset(row: Row) -> tuple[str, list[str | int]]:
    """Sort key: the task, then the subset with numbers compared as numbers (q20 before q100)."""
    return row.task, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", row.subset)]


def _tally(rows: Sequence[Row], task: str | None, subset: str | None, first: str) -> Tally:
    good = [row for row in rows if row.error is None]
    labeled = [row for row in good if row.expected is not None and first in row.runs]
    modes = _modes_in_order((mode for row in good for mode in row.runs), first)
    return Tally(
        task=task,
        subset=subset,
        pictures=len(good),
        pairs=sum("psnr" in row.scores for row in good),
        errors=len(rows) - len(good),
        scores=mean_scores(row.scores for row in good),
        modes={mode: _mode_tally([row for row in good if mode in row.runs], mode) for mode in modes},
        labeled=len(labeled),
        right=sum(row.runs[first].label == row.expected for row in labeled),
    )


def _modes_in_order(modes: Iterable[str], first: str = AUTO) -> list[str]:
    """Returns modes without duplicates: our modes, then other tools in order of appearance."""
    return sorted(dict.fromkeys(modes), key=lambda mode: (mode != first, mode not in (AUTO, TOLD)))


def _mode_tally(rows: Sequence[Row], mode: str) -> ModeTally:
    good = [row for row in rows if row.runs[mode].error is None]
    runs = [row.runs[mode] for row in good]
    gains = [gain for row in good if (gain := row.psnr_gain_db(mode)) is not None]
    seconds = [run.seconds for run in runs if run.seconds is not None]
    ours = [run for run in runs if run.stop_reason]  # another tool reports neither passes nor stop reasons
    return ModeTally(
        pictures=len(runs),
        pairs=sum("psnr" in run.scores for run in runs),
        scores=mean_scores(run.scores for run in runs),
        gain_db=fmean(gains) if gains else None,
        seconds=fmean(seconds) if seconds else None,
        slowest_s=max(seconds, default=None),
        passes=fmean(run.passes for run in ours) if ours else 0.0,
        passes_taken=dict(sorted(Counter(run.passes for run in ours).items())),
        stops=dict(Counter(run.stop_reason for run in ours).most_common()),
        errors=len(rows) - len(good),
    )


def mean_scores(measured: Iterable[Scores]) -> Scores:
    """Returns the mean of each metric over the photos that have it, with PSNR capped."""
    values: dict[str, list[float]] = {}
    for scores in measured:
        for name, value in scores.items():
            values.setdefault(name, []).append(min(value, PSNR_CAP_DB) if name == "psnr" else value)
    return {name: fmean(members) for name, members in values.items()}


def _clean(rows: Sequence[Row], first: str) -> CleanTally | None:
    runs: list[Restoration] = [row.runs[first] for row in rows if first in row.runs]
    if not runs:
        return None
    psnrs = [run.scores["psnr"] for run in runs]
    return CleanTally(
        pictures=len(runs),
        errors=len(rows) - len(runs),
        found_clean=sum(run.label == CLEAN for run in runs),
        untouched=sum(psnr >= UNCHANGED_DB for psnr in psnrs),
        changed_at_all=sum(math.isfinite(psnr) for psnr in psnrs),
        mean_psnr=fmean(min(psnr, PSNR_CAP_DB) for psnr in psnrs),
        worst_psnr=min(*psnrs, PSNR_CAP_DB),
        seconds=fmean(run.seconds or 0.0 for run in runs),
        others=_tools_on_clean_photos(rows),
    )


def _tools_on_clean_photos(rows: Iterable[Row]) -> dict[str, ToolOnCleanPhotos]:
    psnrs: dict[str, list[float]] = {}
    for row in rows:
        for name, run in row.runs.items():
            if name not in (AUTO, TOLD) and "psnr" in run.scores:
                psnrs.setdefault(name, []).append(min(run.scores["psnr"], PSNR_CAP_DB))
    return {
        name: ToolOnCleanPhotos(
            pictures=len(values), untouched=sum(value >= UNCHANGED_DB for value in values), mean_psnr=fmean(values)
        )
        for name, values in psnrs.items()
    }


def _confusion(rows: Iterable[Row], first: str) -> dict[str, dict[str, int]]:
    matrix: dict[str, Counter[str]] = {}
    for row in rows:
        if row.expected is not None and first in row.runs:
            matrix.setdefault(row.expected, Counter())[row.runs[first].label] += 1
    return {expected: dict(found) for expected, found in matrix.items()}


def _worse_pairs(rows: Iterable[Row], first: str, most: int = 20) -> tuple[WorsePair, ...]:
    """Returns the pairs with a negative PSNR gain, lowest first."""
    worse = [
        WorsePair(
            task=row.task,
            name=row.name,
            expected=row.expected,
            found=row.runs[first].label,
            repaired=row.runs[first].repaired,
            gain_db=gain,
        )
        for row in rows
        if (gain := row.psnr_gain_db(first)) is not None and gain < -WORSE_DB
    ]
    return tuple(sorted(worse, key=lambda entry: entry.gain_db)[:most])
