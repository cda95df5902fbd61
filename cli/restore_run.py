"""Restores photos one after the other: read, restore, write, report.  If a photo fails, the others still run."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.bundle_loading import report_out_of_memory
from cli.console import print_failure, print_json_line, print_message, print_warnings
from cli.exit_codes import ExitCode, exit_code_for
from cli.inputs import IfExists, PhotoPaths, comparison_path, output_path, read_photo_and_file
from cli.progress import PhotoProgress
from cli.restore_row import Written, row_of
from cli.result_names import (
    ResultNames,
    already_done,
    first_result,
    refuse_loss_in_place,
    result_format,
    variant_result,
)
from cli.side_by_side import side_by_side
from cli.summary import changed_visibly, summary
from models.errors import ControlsError, ModelsError, PhotoError, ProvenanceError, UnfitControls
from models.photo.atomic_write import write_atomically
from models.photo.c2pa_manifest import Parent
from models.photo.marking import Marking, Provenance, encode_marked
from models.photo.part import prepared
from models.photo.provenance import mark_of
from models.photo.read import Limits, Photo
from models.photo.write import conversion_warnings, encode_photo
from models.warning_codes import EQUAL_VARIANTS, coded

if TYPE_CHECKING:
    from models.controls import Controls
    from models.restoration_report import Report
    from models.restorer import Restored, Restorer


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How results are written."""

    format: str | None = None  # None: the input's format
    quality: int | None = None
    compare: bool = False
    exists: IfExists = IfExists.SKIP
    as_json: bool = False
    provenance: Provenance = field(default_factory=Provenance)


@dataclass
class RunOutcome:
    """What became of the photos; one exit code for each that failed."""

    restored: int = 0
    skipped: int = 0
    failures: list[ExitCode] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RestoreRun:
    """Several photos, one restorer, the same controls for each photo.

    `bundle` is for the marks of results, and `credit` for their reports.
    """

    restorer: "Restorer"
    controls: "Controls"
    output: OutputOptions
    bundle: str = ""
    bundle_version: str = ""
    credit: str = ""

    def run(self, photos: Sequence[PhotoPaths]) -> RunOutcome:
        """Restore each photo.

        Raises:
            ControlsError: the controls are wrong for every photo.
        """
        outcome, progress = RunOutcome(), PhotoProgress(len(photos))
        names = ResultNames(photos)
        with progress.bar:
            for paths in photos:
                progress.start_photo(paths.name)
                try:
                    if self._restore(paths, names, progress):
                        outcome.restored += 1
                    else:
                        outcome.skipped += 1
                except (ControlsError, ProvenanceError) as error:
                    if not isinstance(error, UnfitControls):
                        raise
                    outcome.failures.append(exit_code_for(error))
                    print_failure(paths.name, f"{paths.name}: {error}", as_json=self.output.as_json)
                except ModelsError as error:
                    outcome.failures.append(exit_code_for(error))
                    print_failure(paths.name, str(error), as_json=self.output.as_json)
        return outcome

    def _restore(self, paths: PhotoPaths, names: ResultNames, progress: PhotoProgress) -> bool:
        """Restore a photo.  Returns whether it did: a result that exists is kept."""
        from models.pixels import to_pixels

        started_s, variants = time.monotonic(), self.controls.variants
        with report_out_of_memory():
            photo, data = read_photo_and_file(paths.source, keep_file=self.output.provenance.signer is not None)
            paths = names.after_reading(paths, photo, self.output.format)
            if already_done(first_result(paths, variants), self.output.exists):
                return False
            refuse_loss_in_place(paths, photo, self.output.exists)
            photo = prepared(photo, self.controls.crop, self.controls.scale, Limits())
            photo_format = result_format(paths, photo, self.output.format)
            losses = (loss.about(paths.name) for loss in coded(conversion_warnings(photo, photo_format), "other"))
            warnings: list[str] = [*photo.warnings, *losses]
            print_warnings(warnings)
            parent = Parent(data=data, format=photo.format) if data is not None else None
            written: list[Written] = []
            for number in range(1, variants + 1):
                result = self._restored(photo, number, progress)
                restored = replace(
                    photo, pixels=to_pixels(result.image, photo.pixels.dtype.type), whole=None, small=None
                )
                place = paths if variants == 1 else variant_result(paths, number)
                marking = self._marking(result.report, parent)
                written.append((result.report, self._write(place, photo, restored, photo_format, marking)))
                self._print_summary(paths, photo, restored, written[-1], time.monotonic() - started_s)
                if number == 1:
                    notes = [note.about(paths.name) for note in coded(result.report.warnings, "other")]
                    if variants > 1 and not result.report.draws_noise:
                        notes.append(EQUAL_VARIANTS.about(paths.name))
                    print_warnings(notes)
                    warnings += notes
                if not result.report.draws_noise:
                    break
        if self.output.as_json:
            print_json_line(row_of(paths.name, written, warnings, time.monotonic() - started_s))
        return True

    def _restored(self, photo: Photo, number: int, progress: PhotoProgress) -> "Restored":
        from models.drive import restore_one
        from models.pixels import as_image
        from models.restorer import Request

        controls = replace(self.controls, seed=self.controls.seed + number - 1)
        whole = None if photo.whole is None else as_image(photo.whole)
        small = None if photo.small is None else as_image(photo.small)
        request = Request(
            image=as_image(photo.pixels), controls=controls, whole=whole, small=small, compressed=photo.compressed
        )
        result = restore_one(self.restorer, request, progress.update)
        return replace(result, report=replace(result.report, credit=self.credit))

    def _marking(self, report: "Report", parent: Parent | None) -> Marking | None:
        share = report.change.share if report.change else 1.0
        mark = mark_of(report.passes, share, self.bundle, self.bundle_version)
        return self.output.provenance.marking(mark, parent)

    def _print_summary(
        self, paths: PhotoPaths, photo: Photo, restored: Photo, written: Written, seconds: float
    ) -> None:
        report, place = written
        words = summary(report, changed=changed_visibly(photo.pixels, restored.pixels))
        print_message(f"{paths.name} -> {place or 'stdout'}: {words} ({seconds:.1f} s)")

    def _write(
        self, paths: PhotoPaths, photo: Photo, restored: Photo, photo_format: str, marking: Marking | None
    ) -> Path | None:
        """Write the result.  Returns its path, or None for stdout."""
        data = encode_marked(restored, photo_format, self.output.quality, marking)
        if paths.target is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return None
        target = output_path(paths.target, self.output.exists)
        if target is None:
            raise PhotoError(f"{paths.target} has appeared meanwhile; it is kept (use --exists replace or rename).")
        sources = [paths.source] if paths.source is not None else []
        write_atomically(target, data, sources)
        if self.output.compare:
            self._write_comparison(target, photo, restored, sources)
        return target

    def _write_comparison(self, target: Path, photo: Photo, restored: Photo, sources: Sequence[Path]) -> None:
        path = output_path(comparison_path(target), self.output.exists)
        if path is None:
            print_message(f"{comparison_path(target)} already exists, kept (use --exists replace or rename)")
        else:
            write_atomically(path, encode_photo(side_by_side(photo, restored), "png"), sources)
