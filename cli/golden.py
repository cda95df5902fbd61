"""`undegrade models verify --golden`: compares a bundle with its recorded result, and with figures of its paper."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import MofNCompleteColumn, TimeElapsedColumn
from rich.table import Table

from cli.bundle_loading import load_bundle, report_out_of_memory
from cli.console import print_error, print_json_line, print_message, print_table, print_warning, visible
from cli.progress import progress_bar
from models.bundle import Manifest
from models.controls import Controls
from models.drive import restore_one
from models.errors import BundleError, ControlsError, PhotoError
from models.evaluation.agreement import Agreement, compare
from models.evaluation.pairs import Pair, find_pairs, read_pictures
from models.evaluation.published import Figure, System, spread, system_of
from models.evaluation.ssim import PSNR_CAP_DB
from models.pixels import to_pixels, to_tensor
from models.restorer import Request

if TYPE_CHECKING:
    from models.restorer import Restorer


@dataclass(frozen=True, kw_only=True)
class GoldenOptions:
    """What the user asked for.  `crop_px` 0 measures whole pictures."""

    device: str | None
    crop_px: int
    limit: int | None
    as_json: bool


@dataclass
class Measured:
    """The PSNRs of one figure's pairs so far, in dB, and the number of pairs that could not be read."""

    figure: Figure
    pairs: list[Pair]
    psnrs_db: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def agreement(self) -> Agreement:
        return compare(self.psnrs_db, self.figure.psnr_db, self.figure.images)


def check_recorded(bundle: Path, manifest: Manifest, device: str | None) -> None:
    """Restore the golden image, and compare with the recorded result; print both.

    Raises:
        DeviceError: the result differs.
    """
    from models.golden import check

    score_db = check(load_bundle(str(bundle), device), bundle, manifest)
    if score_db is None:
        print_message(f"{manifest.name} has no recorded result; the golden image is restored and is not blank")
    else:
        same = "equal" if math.isinf(score_db) else f"{score_db:.1f} dB"
        print_message(f"golden image: {same} to the recorded result")


def compare_with_vectors(bundle: Path, manifest: Manifest, folder: Path, options: GoldenOptions) -> bool:
    """Compare the bundle's specialists with recorded outputs of the published graphs; print a row for each.

    Returns whether one differs.

    Raises:
        ControlsError: the folder has no outputs of a network of this bundle.
    """
    from models.autodir.restorer import AutoDIR
    from models.evaluation.recorded_outputs import SAME_DB, compare_outputs

    keys, rows = tuple(manifest.networks.get("specialists") or {}), []
    restorer = load_bundle(str(bundle), options.device)
    if isinstance(restorer, AutoDIR):
        with report_out_of_memory():
            found = compare_outputs(keys, restorer.specialists.restore, folder)
            rows = [(name, min(score_db, PSNR_CAP_DB)) for name, score_db in found]
    if not rows:
        named = ", ".join(keys) or "none"
        raise ControlsError(f"{folder} has no recorded outputs of a network of {manifest.name}: {named}.")
    table = Table("recorded output", "PSNR dB", "verdict")
    for name, score_db in rows:
        verdict = "agrees" if score_db >= SAME_DB else "differs"
        table.add_row(name, f"{score_db:.1f}", verdict)
        if options.as_json:
            print_json_line({"bundle": manifest.name, "output": name, "psnr_db": score_db, "verdict": verdict})
    if not options.as_json:
        print_table(table)
    return any(score_db < SAME_DB for _, score_db in rows)


def compare_with_paper(bundle: Path, manifest: Manifest, folder: Path, options: GoldenOptions) -> bool:
    """Measure the pairs of a folder that belong to a published figure; print a row for each.

    Returns whether a figure differs, or a pair could not be read.

    Raises:
        ControlsError: no figures of this system are known, or none belongs to a pair of the folder.
    """
    system = system_of(manifest)
    measured = _with_pairs(system, folder, options.limit)
    restorer = load_bundle(str(bundle), options.device)
    interrupted = _measure(restorer, manifest, system, measured, options)
    done = [entry for entry in measured if entry.psnrs_db]
    if done:
        _print(system, done, options)
    if interrupted:
        raise KeyboardInterrupt
    return any(entry.failed for entry in measured) or any(entry.agreement.verdict == "differs" for entry in done)


def _with_pairs(system: System, folder: Path, limit: int | None) -> list[Measured]:
    if not system.figures:
        raise ControlsError(f"no published figures of {system.title} are known: {system.reason}.")
    pairs = find_pairs(folder)
    found = [Measured(figure, spread(figure.pairs(pairs), limit)) for figure in system.figures if figure.task]
    found = [entry for entry in found if entry.pairs]
    if not found:
        wanted = "; ".join(
            f"{figure.task}/lq/{figure.files}* ({figure.benchmark})" for figure in system.figures if figure.task
        )
        raise ControlsError(
            f"{folder} has no pairs of a benchmark that {system.title} was measured on. Expected {wanted or 'none'}, "
            "with the ground truths in gt."
        )
    return found


def _measure(
    restorer: "Restorer", manifest: Manifest, system: System, measured: Sequence[Measured], options: GoldenOptions
) -> bool:
    """Restore all pairs; print each PSNR, and with --json the row of each figure.  Returns True after Ctrl-C."""
    with progress_bar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=sum(len(entry.pairs) for entry in measured))
        for entry in measured:
            interrupted = False
            try:
                for pair in entry.pairs:
                    bar.update(task, description=visible(f"{entry.figure.benchmark} {pair.name}"))
                    _measure_pair(restorer, entry, pair, options.crop_px)
                    bar.advance(task)
            except KeyboardInterrupt:
                interrupted = True
            if options.as_json and entry.psnrs_db:
                print_json_line(
                    {"bundle": manifest.name, "system": system.title, "crop_px": options.crop_px, **_row(entry)}
                )
            if interrupted:
                return True
    return False


def _measure_pair(restorer: "Restorer", entry: Measured, pair: Pair, crop_px: int) -> None:
    """Restore one pair and print its PSNR; a file that cannot be read is printed, and the run continues."""
    try:
        with report_out_of_memory():
            entry.psnrs_db.append(_psnr(restorer, entry.figure, pair, crop_px))
    except PhotoError as error:
        entry.failed += 1
        print_error(f"{entry.figure.benchmark}: {error}")
        return
    print_message(f"{entry.figure.benchmark} {pair.name}: {entry.psnrs_db[-1]:.2f} dB")


def _psnr(restorer: "Restorer", figure: Figure, pair: Pair, crop_px: int) -> float:
    pictures = read_pictures(pair, crop_px)
    if pictures.truth is None:
        raise BundleError(f"{pair.name} has no ground truth.")
    controls = Controls(prompt=figure.prompt, strict=figure.strict)
    restored = restore_one(restorer, Request(image=to_tensor(pictures.degraded), controls=controls))
    return min(figure.psnr(to_pixels(restored.image).astype(pictures.truth.dtype), pictures.truth), PSNR_CAP_DB)


def _print(system: System, done: Sequence[Measured], options: GoldenOptions) -> None:
    table = Table("benchmark", "images", "channels", "measured dB", "95 % interval", "published dB", "verdict")
    for entry in done:
        row = _row(entry)
        table.add_row(
            str(row["benchmark"]), f"{row['images']} of {row['benchmark_images'] or '?'}", str(row["channels"]),
            f"{row['psnr_db']:.2f}", _interval(entry.agreement), f"{row['published_db']:.2f}",
            str(row["verdict"]),
        )  # fmt: skip
    if not options.as_json:
        print_table(table)
        for entry in done:
            print_message(f"{entry.figure.benchmark}: {entry.figure.psnr_db} dB is from {entry.figure.source}")
    for note in _notes(system, done, options):
        print_warning(note)


def _interval(agreement: Agreement) -> str:
    bounded = math.isfinite(agreement.low_db)
    return f"{agreement.low_db:.2f} to {agreement.high_db:.2f}" if bounded else "unknown"


def _row(entry: Measured) -> dict[str, str | int | float | None]:
    figure, agreement = entry.figure, entry.agreement
    bounded = math.isfinite(agreement.low_db)  # one image has no interval
    return {
        "benchmark": figure.benchmark, "images": agreement.images, "benchmark_images": figure.images,
        "channels": figure.channels, "psnr_db": agreement.mean_db,
        "low_db": agreement.low_db if bounded else None, "high_db": agreement.high_db if bounded else None,
        "published_db": figure.psnr_db, "verdict": agreement.verdict,
        "source": figure.source,
    }  # fmt: skip


def _notes(system: System, done: Sequence[Measured], options: GoldenOptions) -> Iterator[str]:
    if options.crop_px:
        yield f"crops of {options.crop_px} px were measured, the paper measures whole pictures: PSNR is not the same"
    if any(entry.figure.channels == "not stated" for entry in done):
        yield "the source does not say which channels were measured; this is RGB, and luma usually gives 1 to 2 dB more"
    for figure in system.figures:
        if figure.note:
            yield f"{figure.benchmark} ({figure.psnr_db} dB) was not compared: {figure.note}"
