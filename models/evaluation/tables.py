"""A report's tables as text cells, the same for markdown, the page and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.evaluation.measurements import AUTO, TOLD, Scores
from models.evaluation.perceptual import FID, arrow
from models.evaluation.psnr_ssim import METRICS
from models.evaluation.report import Head, Report
from models.evaluation.summary import UNTOUCHED_DB, CleanTally, Summary, Tally

NOTHING, FEWER = "-", "*"

LEGEND = (
    "PSNR in dB (gain over the input) / SSIM, means of pictures. Label: right dominant labels of the first assessment. "
    "s: seconds a picture. Bold rows are whole tasks. *: a mean over fewer pictures than the row's n (n below)."
)

METRICS_LEGEND = (
    "Means of pictures; ↓ less is better, ↑ more is better. FID is of all a task's pictures to their truths; with few "
    "pictures it depends on how many there are, so compare it within a row only."
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Columns and lines of equal length; `whole` are the lines that sum others up."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    whole: frozenset[int] = frozenset()


def main_grid(summary: Summary) -> Grid:
    """Each task's subsets, then the task; all pairs last.  Other tools stand beside our modes, with their seconds."""
    modes = summary.modes
    # "told" takes as long as one pass of "auto"; its seconds are in the table of passes
    timed = [mode for mode in modes[1:] if mode not in (AUTO, TOLD)]
    lines = _in_order(summary)
    return Grid(
        columns=("task", "subset", "n", "input", *modes, "label", "s", *(f"{mode} s" for mode in timed)),
        lines=tuple(_cells(tally, modes, timed) for tally, _ in lines),
        whole=frozenset(index for index, (_, whole) in enumerate(lines) if whole),
    )


def passes_grid(summary: Summary) -> Grid:
    """Passes, seconds and reasons to stop, a line for each task and mode."""
    lines = [
        (
            tally.task or "all pairs",
            mode,
            str(of.pictures),
            f"{of.passes:.2f}" if of.stops else NOTHING,
            _counts(of.passes_taken),
            _seconds(of.seconds),
            _seconds(of.slowest_s),
            _counts(of.stops),
        )
        for tally in (*summary.tasks, summary.overall)
        for mode, of in tally.modes.items()
    ]
    columns = ("task", "mode", "n", "passes", "taken: pictures", "s", "slowest", "stopped: pictures")
    return Grid(columns=columns, lines=tuple(lines))


def metrics_grid(report: Report) -> Grid | None:
    """What was measured beyond PSNR and SSIM, a line for each task and metric; None where nothing was."""
    modes, lines = report.summary.modes, []
    for tally in (*report.summary.tasks, report.summary.overall):
        of = {"input": tally.scores, **{name: mode.scores for name, mode in tally.modes.items()}}
        for metric in dict.fromkeys(name for scores in of.values() for name in scores if name not in METRICS):
            cells = (f"{of[name][metric]:.4f}" if metric in of.get(name, {}) else NOTHING for name in ("input", *modes))
            lines.append((tally.task or "all pairs", arrow(metric), str(tally.pictures), *cells))
    lines += [
        (task, arrow(FID), NOTHING, *(f"{of[name]:.4g}" if name in of else NOTHING for name in ("input", *modes)))
        for task, of in report.fid.items()
    ]
    return Grid(columns=("task", "metric", "n", "input", *modes), lines=tuple(lines)) if lines else None


def confusion_grid(summary: Summary) -> Grid:
    """Right labels (rows) against found ones (columns); the last column is the share that was right."""
    confusion, names = summary.confusion, found_labels(summary)
    lines = [
        (expected, *(str(counts.get(name, "")) for name in names), f"{share(counts, expected):.0%}")
        for expected, counts in sorted(confusion.items())
    ]
    return Grid(columns=("", *names, "right"), lines=tuple(lines))


def hurt_grid(summary: Summary) -> Grid:
    """Pairs that the automatic mode took further from their truth, most harmed first."""
    lines = [
        (f"{e.task}/{e.name}", signed(e.gain_db), e.expected or NOTHING, e.found, ", ".join(e.repaired) or NOTHING)
        for e in summary.hurt
    ]
    return Grid(columns=("pair", "dB", "right label", "found", "repaired"), lines=tuple(lines))


def found_labels(summary: Summary) -> list[str]:
    """The confusion table's columns: every label that was right or found."""
    return sorted({name for counts in summary.confusion.values() for name in counts} | set(summary.confusion))


def share(counts: dict[str, int], expected: str) -> float:
    """Of a row of the confusion table, the share that was right."""
    return counts.get(expected, 0) / sum(counts.values())


def head_lines(of: Head) -> list[str]:
    """Where the numbers come from; the command, which is code, is left to the caller."""
    at = of.conditions
    asked = f"crop {at.crop_px or 'none'} · seed {at.seed} · steps {at.steps or 'default'}"
    load = "" if of.load is None else f" · load {of.load:.1f}"
    return [
        f"{of.date} · {of.device} · {of.threads} threads{load} · torch {of.torch} · python {of.python}",
        f"bundle {at.bundle} {at.version} · fingerprint {at.fingerprint[:16]}",
        f"{asked} · max passes {at.max_passes or 'default'} · commit {of.commit or 'unknown'}",
    ]


def clean_line(clean: CleanTally | None) -> str:
    if clean is None:
        return "None measured."
    return (
        f"{clean.pictures} ground truths as inputs: {clean.found_clean} found clean, {clean.untouched} within "
        f"{UNTOUCHED_DB:.0f} dB of themselves, {clean.changed_at_all} changed at all; mean {clean.mean_psnr:.2f} dB, "
        f"worst {clean.worst_psnr:.2f} dB (100 dB stands for equal); {clean.seconds:.1f} s each."
        + (f" {clean.errors} failed." if clean.errors else "")
        + "".join(
            f" {name}: {of.untouched} of {of.pictures} within {UNTOUCHED_DB:.0f} dB, mean {of.mean_psnr:.2f} dB."
            for name, of in clean.others.items()
        )
    )


def scores_text(scores: Scores) -> str:
    """`21.30 / 0.712`, PSNR and SSIM."""
    return f"{scores['psnr']:.2f} / {scores['ssim']:.3f}" if "psnr" in scores else NOTHING


def signed(db: float) -> str:
    """`+1.25`, and never `-0.00`."""
    return f"{round(db, 2) + 0.0:+.2f}"


def _in_order(summary: Summary) -> list[tuple[Tally, bool]]:
    """Tallies as lines, and whether each is a whole; a lone subset is its task."""
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
        f"{tally.right}/{tally.labeled}" if tally.labeled else NOTHING,
        *(_seconds(of.seconds if (of := tally.modes.get(mode)) else None) for mode in (*modes[:1], *timed)),
    )


def _mode(tally: Tally, mode: str) -> str:
    of = tally.modes.get(mode)
    if of is None or of.gain_db is None:
        return NOTHING
    missing = FEWER if of.pairs < tally.pairs else ""  # a mean over fewer pictures does not compare
    return f"{of.scores['psnr']:.2f} ({signed(of.gain_db)}) / {of.scores['ssim']:.3f}{missing}"


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds:.1f}"


def _counts(counts: dict[int, int] | dict[str, int]) -> str:
    return ", ".join(f"{what}: {count}" for what, count in counts.items()) or NOTHING
