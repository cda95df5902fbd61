"""Builds the tables of a report as text cells, for markdown, HTML and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.evaluation.measurements import AUTO, TOLD, Scores
from models.evaluation.perceptual import FID, name_with_direction
from models.evaluation.report import Header, Report
from models.evaluation.ssim import METRICS
from models.evaluation.summary import UNCHANGED_DB, CleanTally, Summary, Tally

MISSING, FEWER_MARK = "-", "*"

LEGEND = (
    "PSNR in dB (PSNR gain) / SSIM, means over photos. label: photos with the expected dominant label in the first "
    "assessment / labeled photos. s: seconds per photo. Bold rows are totals. *: a mean over fewer photos than n."
)

METRICS_LEGEND = (
    "Means over photos; ↓ lower is better, ↑ higher is better. FID compares all photos of a task with their ground "
    "truths. With few photos it depends on their number, so compare values only within one row."
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Columns and lines of equal length; `totals` are the indices of lines that summarize others."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    totals: frozenset[int] = frozenset()


def main_grid(summary: Summary) -> Grid:
    """Returns the subsets of each task, then the task; all pairs last.  Other tools have their own columns."""
    modes = summary.modes
    # the seconds of "told" are in the table of passes
    timed = [mode for mode in modes[1:] if mode not in (AUTO, TOLD)]
    lines = _in_order(summary)
    return Grid(
        columns=("task", "subset", "n", "input", *modes, "label", "s", *(f"{mode} s" for mode in timed)),
        lines=tuple(_cells(tally, modes, timed) for tally, _ in lines),
        totals=frozenset(index for index, (_, is_total) in enumerate(lines) if is_total),
    )


def passes_grid(summary: Summary) -> Grid:
    """Returns passes, seconds and stop reasons for each task and mode."""
    lines = [
        (
            tally.task or "all pairs",
            mode,
            str(of.pictures),
            f"{of.passes:.2f}" if of.stops else MISSING,
            _counts(of.passes_taken),
            _seconds(of.seconds),
            _seconds(of.slowest_s),
            _counts(of.stops),
        )
        for tally in (*summary.tasks, summary.overall)
        for mode, of in tally.modes.items()
    ]
    columns = ("task", "mode", "n", "mean passes", "passes: photos", "s", "slowest s", "stop reason: photos")
    return Grid(columns=columns, lines=tuple(lines))


def metrics_grid(report: Report) -> Grid | None:
    """Returns the learned metrics of each task; None if none was measured."""
    modes, lines = report.summary.modes, []
    for tally in (*report.summary.tasks, report.summary.overall):
        of = {"input": tally.scores, **{name: mode.scores for name, mode in tally.modes.items()}}
        for metric in dict.fromkeys(name for scores in of.values() for name in scores if name not in METRICS):
            cells = (f"{of[name][metric]:.4f}" if metric in of.get(name, {}) else MISSING for name in ("input", *modes))
            lines.append((tally.task or "all pairs", name_with_direction(metric), str(tally.pictures), *cells))
    lines += [
        (
            task,
            name_with_direction(FID),
            MISSING,
            *(f"{of[name]:.4g}" if name in of else MISSING for name in ("input", *modes)),
        )
        for task, of in report.fid.items()
    ]
    return Grid(columns=("task", "metric", "n", "input", *modes), lines=tuple(lines)) if lines else None


def confusion_grid(summary: Summary) -> Grid:
    """Returns the confusion matrix: expected labels (rows), found labels (columns), label accuracy (last column)."""
    confusion, names = summary.confusion, found_labels(summary)
    lines = [
        (expected, *(str(counts.get(name, "")) for name in names), f"{share_correct(counts, expected):.0%}")
        for expected, counts in sorted(confusion.items())
    ]
    return Grid(columns=("expected label", *names, "correct"), lines=tuple(lines))


def worse_pairs_grid(summary: Summary) -> Grid:
    """Returns the pairs with a negative PSNR gain in the automatic mode, lowest first."""
    lines = [
        (f"{e.task}/{e.name}", signed(e.gain_db), e.expected or MISSING, e.found, ", ".join(e.repaired) or MISSING)
        for e in summary.hurt
    ]
    return Grid(columns=("pair", "PSNR gain", "expected label", "found label", "repaired"), lines=tuple(lines))


def found_labels(summary: Summary) -> list[str]:
    """Returns the columns of the confusion matrix: every expected or found label."""
    return sorted({name for counts in summary.confusion.values() for name in counts} | set(summary.confusion))


def share_correct(counts: dict[str, int], expected: str) -> float:
    """Returns the label accuracy of one row of the confusion matrix."""
    return counts.get(expected, 0) / sum(counts.values())


def header_lines(header: Header) -> list[str]:
    """Returns the origin of the numbers, without the command, which the caller formats as code."""
    at = header.conditions
    controls = f"crop {at.crop_px or 'none'} · seed {at.seed} · steps {at.steps or 'default'}"
    load = "" if header.load is None else f" · load {header.load:.1f}"
    return [
        f"{header.date} · {header.device} · {header.threads} threads{load}"
        f" · torch {header.torch} · python {header.python}",
        f"bundle {at.bundle} {at.version} · fingerprint {at.fingerprint[:16]}",
        f"{controls} · max passes {at.max_passes or 'default'} · commit {header.commit or 'unknown'}",
    ]


def clean_photos_text(clean: CleanTally | None) -> str:
    if clean is None:
        return "No clean photos were measured."
    return (
        f"{clean.pictures} ground truths as inputs: {clean.found_clean} labeled clean, "
        f"{clean.untouched} within {UNCHANGED_DB:.0f} dB of the original, {clean.changed_at_all} changed at all; "
        f"mean PSNR {clean.mean_psnr:.2f} dB, lowest {clean.worst_psnr:.2f} dB (100 dB means equal); "
        f"{clean.seconds:.1f} s per photo."
        + (f" {clean.errors} failed." if clean.errors else "")
        + "".join(
            f" {name}: {of.untouched} of {of.pictures} within {UNCHANGED_DB:.0f} dB, mean {of.mean_psnr:.2f} dB."
            for name, of in clean.others.items()
        )
    )


def scores_text(scores: Scores) -> str:
    """Returns PSNR and SSIM, for example `21.30 / 0.712`."""
    return f"{scores['psnr']:.2f} / {scores['ssim']:.3f}" if "psnr" in scores else MISSING


def signed(db: float) -> str:
    """Returns for example `+1.25`; a rounded zero is `+0.00`."""
    return f"{round(db, 2) + 0.0:+.2f}"


def _in_order(summary: Summary) -> list[tuple[Tally, bool]]:
    """Returns tallies in order, and whether each is a total; a single subset is also the total of its task."""
    lines: list[tuple[Tally, bool]] = []
    for task in summary.tasks:
        subsets = [tally for tally in summary.subsets if tally.task == task.task]
        if len(subsets) == 1:
            lines.append((subsets[0], True))
        else:
            lines += [*((tally, False) for tally in subsets), (task, True)]
    return [*lines, (summary.overall, True)]


def _cells(tally: Tally, modes: Sequence[str], timed: Sequence[str]) -> tuple[str, ...]:
    return (
        tally.task or "all pairs",
        tally.subset or "",
        str(tally.pictures),
        scores_text(tally.scores),
        *(_mode(tally, mode) for mode in modes),
        f"{tally.right}/{tally.labeled}" if tally.labeled else MISSING,
        *(_seconds(of.seconds if (of := tally.modes.get(mode)) else None) for mode in (*modes[:1], *timed)),
    )


def _mode(tally: Tally, mode: str) -> str:
    of = tally.modes.get(mode)
    if of is None or of.gain_db is None:
        return MISSING
    missing = FEWER_MARK if of.pairs < tally.pairs else ""  # a mean over fewer photos is not comparable
    return f"{of.scores['psnr']:.2f} ({signed(of.gain_db)}) / {of.scores['ssim']:.3f}{missing}"


def _seconds(seconds: float | None) -> str:
    return MISSING if seconds is None else f"{seconds:.1f}"


def _counts(counts: dict[int, int] | dict[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or MISSING
