"""Means, accuracy and shares of measured rows.

PSNR is in dB.  A picture equal to its truth has an infinite PSNR; it counts as metrics.PSNR_CAP_DB.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict, Field

from models.evaluation.measurements import AUTO, TOLD, Row, Run, Scores
from models.evaluation.psnr_ssim import PSNR_CAP_DB
from models.vocabulary import CLEAN

UNTOUCHED_DB = 40.0
"""A clean photograph that comes back at least so near to itself was left alone for every practical purpose."""
HURT_DB = 0.1


class ModeTally(BaseModel):
    """One mode, or another tool, over a group; `pairs` have a ground truth, `scores` and `gain_db` are means over them.

    `passes_taken` and `stops` count pictures by passes and by the reason to stop; empty for another tool.  Seconds are
    of one picture, None where nobody knows; `errors` are pictures that a tool failed on, which count for nothing else.
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
    """A subset, a task (subset None) or everything with a truth (task None).  `right` of `labeled` were recognized."""

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


class CleanOther(BaseModel):
    """Another tool on clean photographs: how many came back within 40 dB of themselves, and the mean PSNR, capped."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    untouched: int
    mean_psnr: float


class CleanTally(BaseModel):
    """Clean photographs through the automatic mode, measured against themselves; `others` by tool."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    errors: int
    found_clean: int
    untouched: int
    changed_at_all: int
    mean_psnr: float
    worst_psnr: float  # capped
    seconds: float
    others: dict[str, CleanOther] = Field(default_factory=dict)


class Hurt(BaseModel):
    """A pair that the automatic mode took further from its truth."""

    model_config = ConfigDict(frozen=True)

    task: str
    name: str
    expected: str | None
    found: str
    repaired: tuple[str, ...]
    gain_db: float


class Summary(BaseModel):
    """What a report shows.  `confusion[expected][found]` counts first labels, clean photographs included.

    `errors` by picture: TASK/NAME for ours, TASK/NAME (TOOL) for another's.
    """

    model_config = ConfigDict(frozen=True)

    overall: Tally
    tasks: tuple[Tally, ...]
    subsets: tuple[Tally, ...]
    clean: CleanTally | None
    confusion: dict[str, dict[str, int]]
    hurt: tuple[Hurt, ...]
    errors: dict[str, str]

    @property
    def modes(self) -> list[str]:
        """Every mode and tool that ran, the first one first."""
        return _ours_first(mode for tally in self.tasks for mode in tally.modes)


def summarize(rows: Sequence[Row], first: str = AUTO) -> Summary:
    """Aggregate rows; labels, clean photographs and hurt pairs are those of the mode `first`."""
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
        hurt=_hurt(pairs, first),
        errors=_errors(rows),
    )


def _errors(rows: Iterable[Row]) -> dict[str, str]:
    """By picture, a tool's also by the tool's name."""
    said: dict[str, str] = {}
    for row in rows:
        if row.error is not None:
            said[f"{row.task}/{row.name}"] = row.error
        said |= {
            f"{row.task}/{row.name} ({mode})": run.error for mode, run in row.runs.items() if run.error is not None
        }
    return said


def _by_subset(row: Row) -> tuple[str, list[str | int]]:
    """Task, then subset with its numbers as numbers: noise 15 before noise 50, q10 before q100."""
    return row.task, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", row.subset)]


def _tally(rows: Sequence[Row], task: str | None, subset: str | None, first: str) -> Tally:
    good = [row for row in rows if row.error is None]
    labeled = [row for row in good if row.expected is not None and first in row.runs]
    modes = _ours_first((mode for row in good for mode in row.runs), first)
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


def _ours_first(modes: Iterable[str], first: str = AUTO) -> list[str]:
    """Each once: our modes, then other tools as they come."""
    return sorted(dict.fromkeys(modes), key=lambda mode: (mode != first, mode not in (AUTO, TOLD)))


def _mode_tally(rows: Sequence[Row], mode: str) -> ModeTally:
    good = [row for row in rows if row.runs[mode].error is None]
    runs = [row.runs[mode] for row in good]
    gains = [gain for row in good if (gain := row.gain_db(mode)) is not None]
    seconds = [run.seconds for run in runs if run.seconds is not None]
    judged = [run for run in runs if run.stop_reason]  # another tool tells neither passes nor reasons
    return ModeTally(
        pictures=len(runs),
        pairs=sum("psnr" in run.scores for run in runs),
        scores=mean_scores(run.scores for run in runs),
        gain_db=fmean(gains) if gains else None,
        seconds=fmean(seconds) if seconds else None,
        slowest_s=max(seconds, default=None),
        passes=fmean(run.passes for run in judged) if judged else 0.0,
        passes_taken=dict(sorted(Counter(run.passes for run in judged).items())),
        stops=dict(Counter(run.stop_reason for run in judged).most_common()),
        errors=len(rows) - len(good),
    )


def mean_scores(measured: Iterable[Scores]) -> Scores:
    """The mean of each metric over the pictures that have it, PSNR capped."""
    values: dict[str, list[float]] = {}
    for one in measured:
        for name, value in one.items():
            values.setdefault(name, []).append(min(value, PSNR_CAP_DB) if name == "psnr" else value)
    return {name: fmean(of_one) for name, of_one in values.items()}


def _clean(rows: Sequence[Row], first: str) -> CleanTally | None:
    runs: list[Run] = [row.runs[first] for row in rows if first in row.runs]
    if not runs:
        return None
    psnrs = [run.scores["psnr"] for run in runs]
    return CleanTally(
        pictures=len(runs),
        errors=len(rows) - len(runs),
        found_clean=sum(run.label == CLEAN for run in runs),
        untouched=sum(psnr >= UNTOUCHED_DB for psnr in psnrs),
        changed_at_all=sum(math.isfinite(psnr) for psnr in psnrs),
        mean_psnr=fmean(min(psnr, PSNR_CAP_DB) for psnr in psnrs),
        worst_psnr=min(*psnrs, PSNR_CAP_DB),
        seconds=fmean(run.seconds or 0.0 for run in runs),
        others=_clean_others(rows),
    )


def _clean_others(rows: Iterable[Row]) -> dict[str, CleanOther]:
    psnrs: dict[str, list[float]] = {}
    for row in rows:
        for name, run in row.runs.items():
            if name not in (AUTO, TOLD) and "psnr" in run.scores:
                psnrs.setdefault(name, []).append(min(run.scores["psnr"], PSNR_CAP_DB))
    return {
        name: CleanOther(
            pictures=len(values), untouched=sum(value >= UNTOUCHED_DB for value in values), mean_psnr=fmean(values)
        )
        for name, values in psnrs.items()
    }


def _confusion(rows: Iterable[Row], first: str) -> dict[str, dict[str, int]]:
    matrix: dict[str, Counter[str]] = {}
    for row in rows:
        if row.expected is not None and first in row.runs:
            matrix.setdefault(row.expected, Counter())[row.runs[first].label] += 1
    return {expected: dict(found) for expected, found in matrix.items()}


def _hurt(rows: Iterable[Row], first: str, most: int = 20) -> tuple[Hurt, ...]:
    """The worst pairs, most harmed first."""
    found = [
        Hurt(
            task=row.task,
            name=row.name,
            expected=row.expected,
            found=row.runs[first].label,
            repaired=row.runs[first].repaired,
            gain_db=gain,
        )
        for row in rows
        if (gain := row.gain_db(first)) is not None and gain < -HURT_DB
    ]
    return tuple(sorted(found, key=lambda entry: entry.gain_db)[:most])
