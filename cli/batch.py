"""Restores photos one after the other: read, restore, write, and say how it went.  A photo that fails does so alone."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import Exit, code_of, complain, say, warn
from cli.inputs import Exists, Work, compare_name, place
from cli.progress import Watch
from cli.session import memory_in_words
from cli.side_by_side import side_by_side
from models.errors import ControlsError, ModelsError
from models.photo.read import Limits, Photo, format_of, read_photo
from models.photo.write import conversion_warnings, encode_photo, write_atomically, write_photo

if TYPE_CHECKING:
    from models.restorer import Controls, Report, Restorer


@dataclass(frozen=True, kw_only=True)
class Output:
    """How results are written."""

    kind: str | None = None  # the input's format when None
    quality: int | None = None
    compare: bool = False
    exists: Exists = Exists.SKIP
    as_json: bool = False


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A run over several photos with one restorer and the same words for each."""

    restorer: "Restorer"
    controls: "Controls"
    output: Output

    def run(self, work: Sequence[Work]) -> list[Exit]:
        """Restore each; what the failed ones failed of.

        Raises:
            ControlsError: the words are wrong for every photo.
        """
        failures, watch = [], Watch(len(work))
        with watch.bar:
            for entry in work:
                watch.begins(entry.name)
                try:
                    self._restore(entry, watch)
                except ControlsError:
                    raise
                except ModelsError as error:
                    failures.append(code_of(error))
                    report_failure(entry.name, str(error), as_json=self.output.as_json)
        return failures

    def _restore(self, work: Work, watch: Watch) -> None:
        from models.drive import restore_one
        from models.pixels import to_pixels, to_tensor
        from models.restorer import Request

        started_s = time.monotonic()
        with memory_in_words():
            photo = read_input(work.source)
            for note in photo.warnings:
                warn(note)
            request = Request(image=to_tensor(photo.pixels), controls=self.controls)
            result = restore_one(self.restorer, request, watch.at)
            restored = replace(photo, pixels=to_pixels(result.image, photo.pixels.dtype.type))
            written = self._write(work, photo, restored)
        seconds = time.monotonic() - started_s
        say(f"{work.name} -> {written or 'stdout'}: {summary(result.report)} ({seconds:.1f} s)")
        for note in result.report.warnings:
            warn(f"{work.name}: {note}")
        if self.output.as_json:
            row = {"input": work.name, "output": str(written), "repaired": result.report.labels}
            write_row({**row, **asdict(result.report), "seconds": round(seconds, 3)})

    def _write(self, work: Work, photo: Photo, restored: Photo) -> Path | None:
        """Where the result went; None for stdout."""
        kind = self.output.kind or (work.target and format_of(work.target)) or photo.format
        for loss in conversion_warnings(photo, kind):
            warn(f"{work.name}: {loss}")
        if work.target is None:
            sys.stdout.buffer.write(encode_photo(restored, kind, self.output.quality))
            sys.stdout.buffer.flush()
            return None
        target = place(work.target, self.output.exists) or work.target
        write_photo(restored, target, kind, self.output.quality)
        if self.output.compare:
            self._write_compare(target, photo, restored)
        return target

    def _write_compare(self, target: Path, photo: Photo, restored: Photo) -> None:
        picture = place(compare_name(target), self.output.exists)
        if picture is None:
            say(f"{compare_name(target)} is already there, left as it is (--exists replace or rename)")
        else:
            write_atomically(picture, encode_photo(side_by_side(photo, restored), "png"))


def read_input(source: Path | None) -> Photo:
    """A photo from a file, or from stdin where there is none."""
    limits = Limits()
    return read_photo(source or sys.stdin.buffer.read(limits.file_bytes + 1), limits)


def report_failure(name: str, sentence: str, *, as_json: bool) -> None:
    complain(sentence)
    if as_json:
        write_row({"input": name, "error": sentence})


def write_row(row: Mapping[str, object]) -> None:
    """One JSON object a line, at once: who reads along sees each photo when it is done."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


REASONS = {
    "clean": "now clean",
    "uncertain": "left alone where unsure",
    "did-not-help": "a pass that did not help was taken back",
    "max-passes": "passes used up",
    "prompt-done": "as asked",
    "nothing-left": "nothing left to consider",
    "strength-zero": "strength 0: the input",
}


def summary(report: "Report") -> str:
    """One line: what was found, what was repaired, why it stopped."""
    shares = list(report.degradations.items())
    found = ", ".join(f"{name} {share:.0%}" for name, share in shares[:3] if share >= 0.05)
    repaired = ", ".join(report.labels) or "nothing"
    reason = REASONS.get(report.stop_reason, report.stop_reason)
    if report.stop_reason == "clean" and not report.passes:
        reason = "already clean"
    return f"found {found}; repaired {repaired}; {reason}"
