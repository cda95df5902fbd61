"""Restores photos one after the other: read, restore, write, report.  If a photo fails, the others still run."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.bundle_loading import report_out_of_memory
from cli.console import print_failure, print_json_line, print_message, print_warning
from cli.exit_codes import ExitCode, exit_code_for
from cli.inputs import IfExists, PhotoPaths, comparison_path, output_path, read_input
from cli.progress import PhotoProgress
from cli.result_names import ResultNames, already_done, refuse_loss_in_place, result_format
from cli.side_by_side import side_by_side
from cli.summary import changed_visibly, summary
from models.errors import ControlsError, ModelsError, PhotoError
from models.photo.atomic_write import write_atomically
from models.photo.read import Photo
from models.photo.write import conversion_warnings, encode_photo

if TYPE_CHECKING:
    from models.controls import Controls
    from models.restorer import Restorer


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How results are written."""

    format: str | None = None  # None: the input's format
    quality: int | None = None
    compare: bool = False
    exists: IfExists = IfExists.SKIP
    as_json: bool = False


@dataclass
class RunOutcome:
    """What became of the photos; one exit code for each that failed."""

    restored: int = 0
    skipped: int = 0
    failures: list[ExitCode] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RestoreRun:
    """Several photos, one restorer, the same controls for each photo."""

    restorer: "Restorer"
    controls: "Controls"
    output: OutputOptions

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
                except ControlsError:
                    raise
                except ModelsError as error:
                    outcome.failures.append(exit_code_for(error))
                    print_failure(paths.name, str(error), as_json=self.output.as_json)
        return outcome

    def _restore(self, paths: PhotoPaths, names: ResultNames, progress: PhotoProgress) -> bool:
        """Restore a photo.  Returns whether it did: a result that exists is kept."""
        from models.drive import restore_one
        from models.pixels import as_image, to_pixels
        from models.restorer import Request

        started_s = time.monotonic()
        with report_out_of_memory():
            photo = read_input(paths.source)
            paths = names.after_reading(paths, photo, self.output.format)
            if already_done(paths, self.output.exists):
                return False
            refuse_loss_in_place(paths, photo, self.output.exists)
            for note in photo.warnings:
                print_warning(note)
            request = Request(image=as_image(photo.pixels), controls=self.controls)
            result = restore_one(self.restorer, request, progress.update)
            restored = replace(photo, pixels=to_pixels(result.image, photo.pixels.dtype.type))
            written = self._write(paths, photo, restored)
        seconds = time.monotonic() - started_s
        words = summary(result.report, changed=changed_visibly(photo.pixels, restored.pixels))
        print_message(f"{paths.name} -> {written or 'stdout'}: {words} ({seconds:.1f} s)")
        for note in result.report.warnings:
            print_warning(f"{paths.name}: {note}")
        if self.output.as_json:
            row = {"input": paths.name, "output": str(written), "repaired": result.report.labels}
            print_json_line({**row, **asdict(result.report), "seconds": round(seconds, 3)})
        return True

    def _write(self, paths: PhotoPaths, photo: Photo, restored: Photo) -> Path | None:
        """Write the result.  Returns its path, or None for stdout."""
        photo_format = result_format(paths, photo, self.output.format)
        for loss in conversion_warnings(photo, photo_format):
            print_warning(f"{paths.name}: {loss}")
        if paths.target is None:
            sys.stdout.buffer.write(encode_photo(restored, photo_format, self.output.quality))
            sys.stdout.buffer.flush()
            return None
        target = output_path(paths.target, self.output.exists)
        if target is None:
            raise PhotoError(f"{paths.target} has appeared meanwhile; it is kept (use --exists replace or rename).")
        sources = [paths.source] if paths.source is not None else []
        write_atomically(target, encode_photo(restored, photo_format, self.output.quality), sources)
        if self.output.compare:
            self._write_comparison(target, photo, restored, sources)
        return target

    def _write_comparison(self, target: Path, photo: Photo, restored: Photo, sources: Sequence[Path]) -> None:
        path = output_path(comparison_path(target), self.output.exists)
        if path is None:
            print_message(f"{comparison_path(target)} already exists, kept (use --exists replace or rename)")
        else:
            write_atomically(path, encode_photo(side_by_side(photo, restored), "png"), sources)
