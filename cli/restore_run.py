"""Restores photos one after the other: read, restore, write, report.  If a photo fails, the others still run."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.bundle_loading import report_out_of_memory
from cli.console import print_failure, print_json_line, print_message, print_warning
from cli.exit_codes import ExitCode, exit_code_for
from cli.inputs import IfExists, PhotoPaths, comparison_path, output_path, read_input
from cli.progress import PhotoProgress
from cli.side_by_side import side_by_side
from models.errors import ControlsError, ModelsError
from models.photo.atomic_write import write_atomically
from models.photo.read import Photo, format_of
from models.photo.write import conversion_warnings, encode_photo, write_photo

if TYPE_CHECKING:
    from models.controls import Controls
    from models.restoration_report import Report
    from models.restorer import Restorer


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How results are written."""

    format: str | None = None  # None: the input's format
    quality: int | None = None
    compare: bool = False
    exists: IfExists = IfExists.SKIP
    as_json: bool = False


@dataclass(frozen=True, kw_only=True)
class RestoreRun:
    """Several photos, one restorer, the same controls for each photo."""

    restorer: "Restorer"
    controls: "Controls"
    output: OutputOptions

    def run(self, photos: Sequence[PhotoPaths]) -> list[ExitCode]:
        """Restore each photo.  Returns one exit code for each photo that failed.

        Raises:
            ControlsError: the controls are wrong for every photo.
        """
        failures, progress = [], PhotoProgress(len(photos))
        with progress.bar:
            for paths in photos:
                progress.start_photo(paths.name)
                try:
                    self._restore(paths, progress)
                except ControlsError:
                    raise
                except ModelsError as error:
                    failures.append(exit_code_for(error))
                    print_failure(paths.name, str(error), as_json=self.output.as_json)
        return failures

    def _restore(self, paths: PhotoPaths, progress: PhotoProgress) -> None:
        from models.drive import restore_one
        from models.pixels import to_pixels, to_tensor
        from models.restorer import Request

        started_s = time.monotonic()
        with report_out_of_memory():
            photo = read_input(paths.source)
            for note in photo.warnings:
                print_warning(note)
            request = Request(image=to_tensor(photo.pixels), controls=self.controls)
            result = restore_one(self.restorer, request, progress.update)
            restored = replace(photo, pixels=to_pixels(result.image, photo.pixels.dtype.type))
            written = self._write(paths, photo, restored)
        seconds = time.monotonic() - started_s
        print_message(f"{paths.name} -> {written or 'stdout'}: {summary(result.report)} ({seconds:.1f} s)")
        for note in result.report.warnings:
            print_warning(f"{paths.name}: {note}")
        if self.output.as_json:
            row = {"input": paths.name, "output": str(written), "repaired": result.report.labels}
            print_json_line({**row, **asdict(result.report), "seconds": round(seconds, 3)})

    def _write(self, paths: PhotoPaths, photo: Photo, restored: Photo) -> Path | None:
        """Write the result.  Returns its path, or None for stdout."""
        photo_format = self.output.format or (paths.target and format_of(paths.target)) or photo.format
        for loss in conversion_warnings(photo, photo_format):
            print_warning(f"{paths.name}: {loss}")
        if paths.target is None:
            sys.stdout.buffer.write(encode_photo(restored, photo_format, self.output.quality))
            sys.stdout.buffer.flush()
            return None
        target = output_path(paths.target, self.output.exists) or paths.target
        write_photo(restored, target, photo_format, self.output.quality)
        if self.output.compare:
            self._write_comparison(target, photo, restored)
        return target

    def _write_comparison(self, target: Path, photo: Photo, restored: Photo) -> None:
        path = output_path(comparison_path(target), self.output.exists)
        if path is None:
            print_message(f"{comparison_path(target)} already exists, kept (use --exists replace or rename)")
        else:
            write_atomically(path, encode_photo(side_by_side(photo, restored), "png"))


STOP_REASONS = {
    "clean": "now clean",
    "uncertain": "stopped: the assessor is not sure",
    "did-not-help": "the last pass did not help and was undone",
    "max-passes": "reached the maximum number of passes",
    "prompt-done": "prompt applied",
    "nothing-left": "no degradation left to consider",
    "strength-zero": "strength 0 returns the input",
}


def summary(report: "Report") -> str:
    """Returns one line: the degradations found, the repairs made, and why the loop stopped."""
    probable = list(report.degradations.items())[:3]
    found = ", ".join(f"{name} {probability:.0%}" for name, probability in probable if probability >= 0.05)
    repaired = ", ".join(report.labels) or "nothing"
    reason = STOP_REASONS.get(report.stop_reason, report.stop_reason)
    if report.stop_reason == "clean" and not report.passes:
        reason = "already clean"
    return f"found {found}; repaired {repaired}; {reason}"
