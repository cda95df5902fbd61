"""Writes and reports the results that a server sends, as `restore_run` does with those of this machine."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from cli.console import print_json_line, print_message, print_warning
from cli.inputs import IfExists, PhotoPaths, comparison_path, output_path, read_input
from cli.result_names import ResultNames, already_done, check_stdout, first_result, variant_result
from cli.side_by_side import side_by_side
from cli.summary import summary
from models.errors import PhotoError
from models.photo.atomic_write import write_atomically
from models.photo.read import Limits, Photo, read_photo
from models.photo.write import encode_photo, to_eight_bits
from models.restoration_report import PassReport, Report, Understood
from undegrade_client import Result

NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


@dataclass(kw_only=True)
class RemoteResults:
    """Takes the results of a run, one after the other, and counts them."""

    photos: Sequence[PhotoPaths]
    photo_format: str | None
    exists: IfExists
    as_json: bool
    compare: bool
    crop: str | None = None
    variants: int = 1
    restored: int = 0
    skipped: int = 0
    _inputs: dict[str, bytes] = field(default_factory=dict)
    _names: ResultNames = field(init=False)

    def __post_init__(self) -> None:
        self._names = ResultNames(self.photos)

    def check_stdout(self) -> None:
        """Refuse what does not go with a result on stdout, as `check_stdout` of result_names."""
        check_stdout(self.photos, compare=self.compare, as_json=self.as_json, variants=self.variants)

    def images(self, photos: Sequence[PhotoPaths]) -> Iterator[Path | bytes]:
        """Yields what the client sends: the files as they are, and stdin."""
        for paths in photos:
            if paths.source is not None:
                yield paths.source
                continue
            self._inputs[paths.name] = sys.stdin.buffer.read(Limits().file_bytes + 1)
            yield self._inputs[paths.name]

    def take(self, paths: PhotoPaths, result: Result) -> None:
        """Write a result, and print what was done.

        Raises:
            PhotoError: it cannot be written.
        """
        paths = self._names.after_reading(paths, Photo(pixels=NO_PIXELS, format=result.format), self.photo_format)
        if already_done(first_result(paths, len(result.variants or (result,))), self.exists):
            self.skipped += 1
            return
        variants = result.variants or (result,)
        written = [
            self._write(paths if len(variants) == 1 else variant_result(paths, number), each)
            for number, each in enumerate(variants, 1)
        ]
        report = report_of(result)
        changed = any(entry.kept and entry.visible for entry in report.passes)
        seconds = _seconds(result)
        for place in written:
            words = summary(report, changed=changed)
            print_message(f"{paths.name} -> {place or 'stdout'}: {words} ({seconds:.1f} s on the server)")
        for warning in result.warnings:
            print_warning(f"{paths.name}: {warning}")
        if self.as_json:
            print_json_line(self._row(paths.name, written, result))
        self.restored += 1

    def _write(self, paths: PhotoPaths, result: Result) -> Path | None:
        """Write an image.  Returns its path, or None for stdout."""
        if paths.target is None:
            sys.stdout.buffer.write(result.data)
            sys.stdout.buffer.flush()
            return None
        target = output_path(paths.target, self.exists)
        if target is None:
            raise PhotoError(f"{paths.target} has appeared meanwhile; it is kept (use --exists replace or rename).")
        sources = [paths.source] if paths.source is not None else []
        before = self._before(paths) if self.compare else None  # --exists replace may write over it
        write_atomically(target, result.data, sources)
        if before is not None:
            self._write_comparison(target, before, read_photo(result.data), sources)
        return target

    def _before(self, paths: PhotoPaths) -> Photo:
        data = self._inputs.get(paths.name)
        photo = read_photo(data) if data is not None else read_input(paths.source)
        if self.crop:
            x, y, width, height = (int(number) for number in self.crop.split(","))
            photo = replaced(photo, pixels=photo.pixels[y : y + height, x : x + width])
        return photo

    def _write_comparison(self, target: Path, before: Photo, after: Photo, sources: Sequence[Path]) -> None:
        path = output_path(comparison_path(target), self.exists)
        if path is None:
            print_message(f"{comparison_path(target)} already exists, kept (use --exists replace or rename)")
            return
        pixels = to_eight_bits(before.pixels)
        if pixels.shape != after.pixels.shape:  # --scale enlarges
            size = (after.pixels.shape[1], after.pixels.shape[0])
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        write_atomically(path, encode_photo(side_by_side(replaced(before, pixels=pixels), after), "png"), sources)

    def _row(self, name: str, written: Sequence[Path | None], result: Result) -> dict[str, object]:
        """Returns the row of --json: that of a local run, with the job's id."""
        raw, report = result.job.raw, report_of(result)
        row: dict[str, object] = {"input": name, "output": str(written[0]), "repaired": report.labels}
        for entry in fields(Report):
            row[entry.name] = raw.get(entry.name, raw.get("params", {}).get(entry.name))
        row["degradations"] = dict(result.degradations)
        row["passes"] = [{key: value for key, value in one.items() if key != "image"} for one in raw["passes"]]
        if len(written) > 1:
            row["outputs"] = [str(place) for place in written]
        return {**row, "seconds": round(_seconds(result), 3), "job": result.job_id}


def report_of(result: Result) -> Report:
    """Returns the report in the form of a local run.  Its names are the API's; members that a server lacks are None."""
    raw = result.job.raw
    passes = tuple(
        PassReport(**cast(Any, {entry.name: one.raw.get(entry.name) for entry in fields(PassReport)}))
        for one in result.passes
    )
    return Report(
        degradations=dict(result.degradations), passes=passes, stop_reason=result.stop_reason or "", seed=result.seed,
        steps=int(raw.get("params", {}).get("steps") or 0), warnings=result.warnings,
        understood=_understood(raw.get("understood")),
    )  # fmt: skip


def _understood(raw: Mapping[str, Any] | None) -> Understood | None:
    """Returns how the prompt was understood; an earlier server says less, a later one more."""
    if raw is None:
        return None
    known = {entry.name for entry in fields(Understood)}
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items() if name in known}
    return Understood(**cast(Any, told))


def _seconds(result: Result) -> float:
    timings: Mapping[str, float] = result.job.raw.get("timings") or {}
    return sum(timings.values())
