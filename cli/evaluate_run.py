"""What `undegrade evaluate` does once its words are understood: open, measure, write, show."""

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cli.console import is_terminal, print_table, say, stderr, stdout, warn
from cli.settings import settings
from models.bundle import find_bundle, read_manifest
from models.device import choose_device
from models.evaluation.album import Album
from models.evaluation.comparison import Comparison, changes_notes
from models.evaluation.features import FeatureStore
from models.evaluation.html_page import PAGE_NAME, html_report
from models.evaluation.markdown import MARKDOWN_NAME, markdown_report, terminal_changes, terminal_table
from models.evaluation.measurements import AUTO, TOLD, Conditions, Row, RowLog, fingerprint
from models.evaluation.other_tools import OtherTool
from models.evaluation.pairs import Pair, Picture
from models.evaluation.perceptual import load_metrics
from models.evaluation.report import Report, make_header, write_report
from models.evaluation.strips import caption, write_strip
from models.evaluation.suite import Suite
from models.families import load_restorer
from models.restorer import Controls

ALBUM, FEATURES = "worst", "features"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asked for; None is the settings' or the program's own choice."""

    bundle: str | None
    device: str | None
    out: Path | None
    crop_px: int
    controls: Controls
    told: bool
    others: Sequence[OtherTool]
    metrics: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a run needs: the suite, its log, album and features, and where they lie."""

    suite: Suite
    log: RowLog
    album: Album
    features: FeatureStore | None
    folder: Path
    sentence: str


def open_session(wish: Wish, *, restart: bool) -> Session:
    """Load the bundle and open the log.

    Raises:
        BundleError, DeviceError: there is none, or it does not fit.
        ControlsError: the folder holds rows of other conditions, or a metric's name is none.
    """
    chosen = choose_device(wish.device or settings().device)
    where = find_bundle(wish.bundle or settings().default_bundle)
    manifest, learned_metrics = read_manifest(where), load_metrics(wish.metrics, chosen.device)
    for note in learned_metrics.notes:
        warn(note)
    conditions = Conditions(
        bundle=manifest.name,
        version=manifest.version,
        fingerprint=fingerprint(manifest),
        device=str(chosen.device),
        crop_px=wish.crop_px,
        seed=wish.controls.seed,
        steps=wish.controls.steps,
        max_passes=wish.controls.max_passes,
        modes=(AUTO, TOLD) if wish.told else (AUTO,),
        metrics=learned_metrics.names,
        against={other.name: other.source for other in wish.others},
    )
    folder = wish.out or Path("evaluation") / f"{manifest.name}-{conditions.fingerprint[:8]}"
    log = RowLog.open(folder, conditions, restart=restart)
    if restart:  # else a tool that fails now would be shown with its picture of then
        for kept in (ALBUM, FEATURES):
            shutil.rmtree(folder / kept, ignore_errors=True)
    suite = Suite(
        restorer=load_restorer(where, chosen.device),
        controls=wish.controls,
        crop_px=wish.crop_px,
        modes=conditions.modes,
        other_tools=wish.others,
        learned_metrics=learned_metrics,
    )
    features = FeatureStore(folder / FEATURES, learned_metrics.features) if learned_metrics.features else None
    sentence = f"bundle {where} · {chosen.device} ({chosen.why}) · rows in {folder}"
    album = Album(folder / ALBUM)
    return Session(suite=suite, log=log, album=album, features=features, folder=folder, sentence=sentence)


def measure(session: Session, pairs: Sequence[Pair], strips: Path | None) -> bool:
    """Run the suite; True when Ctrl-C stopped it."""
    try:
        with _Screen(session, pairs, strips) as screen:
            session.suite.run(pairs, session.log, screen)
    except KeyboardInterrupt:
        return True
    return False


def summed_up(session: Session, pairs: Sequence[Pair]) -> Report:
    """The report of the pairs asked for, written as report.json; the folder may hold more."""
    asked = {(pair.task, pair.name) for pair in pairs}
    rows = [row for row in session.log.rows if row.key in asked]
    fid = session.features.distances(rows) if session.features else None
    header = make_header(session.log.conditions, shlex.join(["undegrade", *sys.argv[1:]]))
    return write_report(session.folder, header, rows, session.suite.learned_metrics.notes, fid)


def write(session: Session, report: Report, changes: Comparison | None, dated: Path | None) -> None:
    """Write report.md and report.html, and the same markdown as a dated file where one is asked for."""
    text = markdown_report(report, changes)
    (session.folder / MARKDOWN_NAME).write_text(text, encoding="utf-8")
    (session.folder / PAGE_NAME).write_text(html_report(report, session.album, changes), encoding="utf-8")
    if dated is not None:
        path = dated / dated_name(report) if dated.is_dir() else dated
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        say(f"table in {path}")


def dated_name(report: Report) -> str:
    """2026-11-21_cpu_evaluation.md"""
    device = report.head.conditions.device.replace(":", "")
    return f"{report.head.date[:10]}_{device}_evaluation.md"


def show(report: Report, changes: Comparison | None) -> None:
    """The main table on stdout, and what changed."""
    _show(terminal_table(report.summary))
    if changes is not None:
        _show(terminal_changes(changes))
        for line in changes_notes(changes):
            say(line)


def _show(table: Table) -> None:
    """In a file or a pipe a table is as wide as it needs to be."""
    if not stdout.is_terminal:
        stdout.width = Measurement.get(stdout, stdout.options.update(max_width=1000), table).maximum
    print_table(table)


class _Screen:
    """Progress on stderr: a bar on a terminal, a line a picture everywhere; album and strips on the way."""

    def __init__(self, session: Session, pairs: Sequence[Pair], strips: Path | None) -> None:
        self._session, self._strips = session, strips
        bar = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*bar, console=stderr, disable=not is_terminal(), transient=True)
        done = sum(session.suite.done(pair, session.log) for pair in pairs)
        self._bar = self._progress.add_task("", total=len(pairs), completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, pair: Pair) -> None:
        self._progress.update(self._bar, description=f"{pair.task}/{pair.name}")

    def measured(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        self._progress.advance(self._bar)
        if row.error is not None:
            return say(f"{row.task}/{row.name}: {row.error}")
        if pictures:
            self._keep(row, pictures)
        for mode in row.runs:
            say(f"{row.task}/{row.name}: " + "; ".join(line for line in caption(row, mode) if line))

    def _keep(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        self._session.album.keep(row, pictures, self._session.log.rows)
        if self._session.features is not None:
            self._session.features.keep(row, pictures)
        if self._strips is not None:
            write_strip(self._strips, row, pictures)
