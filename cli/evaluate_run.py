"""Runs an evaluation for `undegrade evaluate`: open, measure, write the reports, print the tables."""

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.measure import Measurement
from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cli.console import print_message, print_table, print_warning, stdout
from cli.progress import progress_bar
from cli.settings import settings
from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.device import choose_device
from models.evaluation.album import Album
from models.evaluation.comparison import Comparison, changes_notes
from models.evaluation.features import FeatureStore
from models.evaluation.html_report import PAGE_NAME, html_report
from models.evaluation.markdown import MARKDOWN_NAME, markdown_report, terminal_changes, terminal_table
from models.evaluation.measurements import AUTO, TOLD, Conditions, Row, RowLog, fingerprint
from models.evaluation.other_tools import OtherTool
from models.evaluation.pairs import Pair, Picture
from models.evaluation.perceptual import load_metrics
from models.evaluation.report import Report, make_header, write_report
from models.evaluation.strips import caption, write_strip
from models.evaluation.suite import Suite
from models.families import load_restorer

ALBUM, FEATURES = "worst", "features"


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What the user asked for; None takes the value of the settings, or the default."""

    bundle: str | None
    device: str | None
    out: Path | None
    crop_px: int
    controls: Controls
    told: bool
    others: Sequence[OtherTool]
    metrics: Sequence[str]
    tile_px: int | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open evaluation: the suite, its log, album and features, and their folder."""

    suite: Suite
    log: RowLog
    album: Album
    features: FeatureStore | None
    folder: Path
    description: str


def open_session(options: EvaluationOptions, *, restart: bool) -> Session:
    """Load the bundle and open the log.

    Raises:
        BundleError, DeviceError: the bundle or the device cannot be used.
        ControlsError: the folder contains rows of other conditions, or a metric is unknown.
    """
    chosen = choose_device(options.device or settings().device)
    bundle = find_bundle(options.bundle or settings().default_bundle)
    manifest, learned_metrics = read_manifest(bundle), load_metrics(options.metrics, chosen.device)
    for note in learned_metrics.notes:
        print_warning(note)
    conditions = Conditions(
        bundle=manifest.name,
        version=manifest.version,
        fingerprint=fingerprint(manifest),
        device=str(chosen.device),
        crop_px=options.crop_px,
        seed=options.controls.seed,
        steps=options.controls.steps,
        max_passes=options.controls.max_passes,
        tile_px=options.tile_px,
        modes=(AUTO, TOLD) if options.told else (AUTO,),
        metrics=learned_metrics.names,
        against={other.name: other.source for other in options.others},
    )
    folder = options.out or Path("evaluation") / f"{manifest.name}-{conditions.fingerprint[:8]}"
    log = RowLog.open(folder, conditions, restart=restart)
    if restart:  # or a tool that fails now would be shown with its image of the earlier run
        for stale in (ALBUM, FEATURES):
            shutil.rmtree(folder / stale, ignore_errors=True)
    suite = Suite(
        restorer=load_restorer(bundle, chosen.device),
        controls=options.controls,
        crop_px=options.crop_px,
        modes=conditions.modes,
        other_tools=options.others,
        learned_metrics=learned_metrics,
        tile_px=options.tile_px,
    )
    features = FeatureStore(folder / FEATURES, learned_metrics.features) if learned_metrics.features else None
    description = f"bundle {bundle} · {chosen.device} ({chosen.why}) · rows in {folder}"
    album = Album(folder / ALBUM)
    return Session(suite=suite, log=log, album=album, features=features, folder=folder, description=description)


def measure(session: Session, pairs: Sequence[Pair], strips: Path | None) -> bool:
    """Run the suite.  Returns True if Ctrl-C interrupted it."""
    try:
        with _Observer(session, pairs, strips) as observer:
            session.suite.run(pairs, session.log, observer)
    except KeyboardInterrupt:
        return True
    return False


def summarize(session: Session, pairs: Sequence[Pair]) -> Report:
    """Write report.json for these pairs and return it.  The log may hold rows of other pairs."""
    names = {(pair.task, pair.name) for pair in pairs}
    rows = [row for row in session.log.rows if row.key in names]
    fid = session.features.distances(rows) if session.features else None
    report_head = make_header(session.log.conditions, shlex.join(["undegrade", *sys.argv[1:]]))
    return write_report(session.folder, report_head, rows, session.suite.learned_metrics.notes, fid)


def write_reports(session: Session, report: Report, changes: Comparison | None, table: Path | None) -> None:
    """Write report.md and report.html; with `table` also a copy of the Markdown, in a folder under a dated name."""
    text = markdown_report(report, changes)
    (session.folder / MARKDOWN_NAME).write_text(text, encoding="utf-8")
    (session.folder / PAGE_NAME).write_text(html_report(report, session.album, changes), encoding="utf-8")
    if table is not None:
        path = table / _dated_name(report) if table.is_dir() else table
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print_message(f"report written to {path}")


def _dated_name(report: Report) -> str:
    """Returns a name such as 2026-11-21_cpu_evaluation.md."""
    device = report.head.conditions.device.replace(":", "")
    return f"{report.head.date[:10]}_{device}_evaluation.md"


def print_report(report: Report, changes: Comparison | None) -> None:
    """Print the main table and the table of changes."""
    _print_wide_table(terminal_table(report.summary))
    if changes is not None:
        _print_wide_table(terminal_changes(changes))
        for line in changes_notes(changes):
            print_message(line)


def _print_wide_table(table: Table) -> None:
    """Print a table that in a file or a pipe is as wide as its content."""
    if not stdout.is_terminal:
        stdout.width = Measurement.get(stdout, stdout.options.update(max_width=1000), table).maximum
    print_table(table)


class _Observer:
    """Prints progress and a line per image, and stores images for the album and the strips during the run."""

    def __init__(self, session: Session, pairs: Sequence[Pair], strips: Path | None) -> None:
        self._session, self._strips = session, strips
        self._bar = progress_bar(MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        done = sum(session.suite.done(pair, session.log) for pair in pairs)
        self._task = self._bar.add_task("", total=len(pairs), completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, pair: Pair) -> None:
        self._bar.update(self._task, description=f"{pair.task}/{pair.name}")

    def measured(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        self._bar.advance(self._task)
        if row.error is not None:
            return print_message(f"{row.task}/{row.name}: {row.error}")
        if pictures:
            self._store(row, pictures)
        for mode in row.runs:
            print_message(f"{row.task}/{row.name}: " + "; ".join(line for line in caption(row, mode) if line))

    def _store(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        self._session.album.keep(row, pictures, self._session.log.rows)
        if self._session.features is not None:
            self._session.features.keep(row, pictures)
        if self._strips is not None:
            write_strip(self._strips, row, pictures)
