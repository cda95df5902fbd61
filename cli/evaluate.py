"""`undegrade evaluate DIR`: measure a bundle on pairs laid out as TASK/lq/NAME and TASK/gt/NAME."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.settings import settings
from cli.talk import Exit, is_terminal, say, sentences, stderr

if TYPE_CHECKING:  # torch loads in seconds; --help does not wait for it
    from models.evaluation.pairs import Pair, Picture
    from models.evaluation.report import Report
    from models.evaluation.rows import Conditions, Row, RowLog
    from models.evaluation.suite import Suite
    from models.restorer import Controls

TABLE_COLUMNS = 110


def evaluate(
    directory: Annotated[Path, typer.Argument(help="A folder of TASK/lq/NAME and TASK/gt/NAME.", metavar="DIR")],
    bundle: Annotated[str | None, typer.Option(help="A bundle's name or folder; the shipped one by default.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where rows and reports go; evaluation/BUNDLE-HASH by default.")
    ] = None,
    tasks: Annotated[list[str] | None, typer.Option(help="Only these tasks; repeat, or separate by commas.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pairs of each subset.")] = None,
    clean: Annotated[int, typer.Option(min=0, help="So many ground truths as clean photographs.")] = 20,
    crop: Annotated[
        int, typer.Option(min=0, help="Centre crops of at most so many px a side; 0 for whole pictures.")
    ] = 512,
    told: Annotated[bool, typer.Option(help="Also restore with the right degradation as the prompt.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="The noise of every picture.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps a pass.")] = None,
    max_passes: Annotated[int | None, typer.Option(min=1, help="At most so many passes.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Write input, modes and truth side by side into this folder.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the rows in --out and measure anew.")] = False,
) -> None:
    """Measure a bundle: PSNR, SSIM, labels and seconds, automatic and told the task; a table, JSON and markdown.

    A stopped run goes on where it stopped when the same command is given again.

    Example: undegrade evaluate ../shared/eval --tasks denoise,derain --limit 2 --pictures strips
    """
    with sentences():
        from models.evaluation.pairs import clean_pairs, find_pairs
        from models.restorer import Controls

        wanted = [task for entry in tasks or [] for task in entry.split(",") if task]
        pairs = find_pairs(directory, wanted, limit) + clean_pairs(find_pairs(directory, wanted), clean)
        _set_threads(threads)
        controls = Controls(seed=seed, steps=steps, max_passes=max_passes)
        session = _open(bundle, device, out, crop, controls, told=told, restart=restart)
        say(f"{len(pairs)} pictures · {session.sentence}")
        stopped = _measure(session, pairs, _Screen(pairs, session.log, pictures))
        report = _write(session, pairs)
    if report.summary.errors:
        say(f"{len(report.summary.errors)} pictures failed; {session.folder / 'report.md'} names them.")
    if stopped:
        say(f"Stopped; {len(report.rows)} of {len(pairs)} measured. The same command goes on from here.")
    raise typer.Exit(Exit.INTERRUPTED if stopped else Exit.SOME_FAILED if report.summary.errors else Exit.OK)


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What a run needs: the suite, its log, and what the report's head says."""

    suite: "Suite"
    log: "RowLog"
    conditions: "Conditions"
    folder: Path
    sentence: str


def _open(
    bundle: str | None,
    device: str | None,
    out: Path | None,
    crop: int,
    controls: "Controls",
    *,
    told: bool,
    restart: bool,
) -> _Session:
    """Load the bundle and open the log.

    Raises:
        BundleError, DeviceError: there is none, or it does not fit.
        ControlsError: the folder holds rows of other conditions.
    """
    from models.bundle import find_bundle, read_manifest
    from models.device import choose_device
    from models.evaluation.rows import Conditions, RowLog, fingerprint
    from models.evaluation.suite import AUTO, TOLD, Suite
    from models.families import load_restorer

    chosen, where = choose_device(device or settings().device), find_bundle(bundle or settings().bundle)
    manifest = read_manifest(where)
    conditions = Conditions(
        bundle=manifest.name,
        version=manifest.version,
        fingerprint=fingerprint(manifest),
        device=str(chosen.device),
        crop_px=crop,
        seed=controls.seed,
        steps=controls.steps,
        max_passes=controls.max_passes,
        modes=(AUTO, TOLD) if told else (AUTO,),
    )
    folder = out or Path("evaluation") / f"{manifest.name}-{conditions.fingerprint[:8]}"
    log = RowLog.open(folder, conditions, restart=restart)
    suite = Suite(restorer=load_restorer(where, chosen.device), controls=controls, crop_px=crop, modes=conditions.modes)
    sentence = f"bundle {where} · {chosen.device} ({chosen.why}) · rows in {folder}"
    return _Session(suite=suite, log=log, conditions=conditions, folder=folder, sentence=sentence)


def _set_threads(threads: int | None) -> None:
    wanted = threads or settings().threads
    if wanted:
        import torch

        torch.set_num_threads(wanted)


def _measure(session: _Session, pairs: Sequence["Pair"], screen: "_Screen") -> bool:
    """Run the suite; True when Ctrl-C stopped it."""
    try:
        with screen:
            session.suite.run(pairs, session.log, screen)
    except KeyboardInterrupt:
        return True
    return False


def _write(session: _Session, pairs: Sequence["Pair"]) -> "Report":
    """Write the report of the pairs asked for (the folder may hold more), and show its table."""
    from models.evaluation.report import head, terminal_table, write_report

    asked = {(pair.task, pair.name) for pair in pairs}
    rows = [row for row in session.log.rows if row.key in asked]
    command = shlex.join(["undegrade", *sys.argv[1:]])
    report = write_report(session.folder, head(session.conditions, command), rows)
    console = Console()
    # a file or a pipe has no width of its own; rich would cut the table at 80
    console.width = console.width if console.is_terminal else max(console.width, TABLE_COLUMNS)
    console.print(terminal_table(report.summary))
    return report


class _Screen:
    """Progress on stderr: a bar on a terminal, a line a picture everywhere; strips where a folder is given."""

    def __init__(self, pairs: Sequence["Pair"], log: "RowLog", strips: Path | None) -> None:
        self._strips = strips
        bar = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*bar, console=stderr, disable=not is_terminal(), transient=True)
        done = sum(log.measured((pair.task, pair.name)) for pair in pairs)
        self._bar = self._progress.add_task("", total=len(pairs), completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, pair: "Pair") -> None:
        self._progress.update(self._bar, description=f"{pair.task}/{pair.name}")

    def measured(self, row: "Row", pictures: Mapping[str, "Picture"]) -> None:
        from models.evaluation.pictures import caption, write_strip

        self._progress.advance(self._bar)
        if row.error is not None:
            return say(f"{row.task}/{row.name}: {row.error}")
        if self._strips is not None:
            write_strip(self._strips, row, pictures)
        for mode in row.runs:
            say(f"{row.task}/{row.name}: " + "; ".join(line for line in caption(row, mode) if line))
