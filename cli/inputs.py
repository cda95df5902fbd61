"""Decides which files a command reads and where each result is written."""

import glob
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from models.errors import ControlsError
from models.photo.read import FORMATS, Limits, Photo, format_of, read_photo

STDIO = "-"
EXTENSIONS = ", ".join(extension for group in FORMATS.values() for extension in group)
RESULT_STEM = re.compile(r"\.(restored|compare)(-\d+)?$")
"""End of the stem of a result that was written beside its input."""


class IfExists(StrEnum):
    """What to do if the output file exists."""

    SKIP = "skip"
    REPLACE = "replace"
    RENAME = "rename"


@dataclass(frozen=True)
class PhotoPaths:
    """One input and the path of its result; None stands for stdin and stdout."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return str(self.source) if self.source else "stdin"


@dataclass
class FoundPhotos:
    """Photos with their paths relative to the folder they were found in, and a message per argument without photos."""

    photos: dict[Path, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def read_input(source: Path | None) -> Photo:
    """Read a photo from a file, or from stdin if `source` is None."""
    limits = Limits()
    return read_photo(source or sys.stdin.buffer.read(limits.file_bytes + 1), limits)


def find_photos(arguments: Sequence[str], out: str | None = None) -> FoundPhotos:
    """Find the photos that the arguments name.  Folders are searched recursively, glob patterns are expanded.

    A file that is named directly is taken with any extension; in folders only known extensions count.  Results of an
    earlier run, beside their inputs or in an `out` inside the folder, are left out: a rerun must not restore them.
    """
    found = FoundPhotos()
    for argument in arguments:
        if not argument:  # Path("") is the current folder: an unset shell variable would restore everything in it
            found.missing[argument] = "got an empty name, expected a photo, a folder or a glob pattern."
            continue
        path = Path(argument)
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(argument, recursive=True))]
        if not matches:
            found.missing[argument] = f"{argument} does not exist, and no file matches it as a pattern."
        for match in matches:
            if not match.is_dir():
                found.photos.setdefault(match, Path(match.name))
                continue
            files = _photos_in(match, out)
            if not files:
                found.missing[argument] = f"no photo in {match} (expected an extension of {EXTENSIONS})."
            for file in files:
                found.photos.setdefault(file, file.relative_to(match))
    return found


def _photos_in(folder: Path, out: str | None) -> list[Path]:
    results = Path(out).resolve() if out is not None else None
    if results is not None and folder.resolve() not in results.parents:
        results = None
    return [
        file
        for file in sorted(folder.rglob("*"))
        if format_of(file) and not file.name.startswith(".") and not RESULT_STEM.search(file.stem) and file.is_file()
        if results is None or results not in file.resolve().parents
    ]


@dataclass(frozen=True)
class OutputPlan:
    """The photos to restore, and a message per argument that names no photo."""

    photos: list[PhotoPaths]
    missing: dict[str, str] = field(default_factory=dict)


def plan_outputs(
    arguments: Sequence[str], out: str | None, photo_format: str | None, exists: IfExists = IfExists.SKIP
) -> OutputPlan:
    """Choose a path for each result.

    -o FILE is for one photo, -o FOLDER for any number.  Without -o the result is NAME.restored.EXT beside the input.

    Raises:
        ControlsError: stdin is mixed with files, two results have one path, or a result would replace its own input.
    """
    if STDIO in arguments:
        refuse_mixed_stdin(arguments)
        return OutputPlan([PhotoPaths(None, None if out in (None, STDIO) else _output_file(str(out)))])
    found = find_photos(arguments, None if out == STDIO else out)
    if out == STDIO:
        if len(found.photos) > 1:
            raise ControlsError(f"-o - writes one photo to stdout, got {len(found.photos)} photos. Give -o a folder.")
        return OutputPlan([PhotoPaths(source, None) for source in found.photos], found.missing)
    file = None if out is None or _is_folder(out) else _output_file(out)
    if file and photo_format and format_of(file) != photo_format:
        raise ControlsError(
            f"got --format {photo_format} and -o {out}, which is {format_of(file)}. Leave one of them out."
        )
    if file and len(found.photos) > 1:
        raise ControlsError(f"-o {out} is one file, but there are {len(found.photos)} photos. Give -o a folder.")
    photos = [
        PhotoPaths(source, file or _target(source, relative, out, photo_format))
        for source, relative in found.photos.items()
    ]
    photos = _without_results(photos) if out is None else photos
    _refuse_collisions(photos, exists)
    return OutputPlan(photos, found.missing)


def refuse_mixed_stdin(arguments: Sequence[str]) -> None:
    """Refuse `-` beside other arguments.

    Raises:
        ControlsError: there are several arguments.
    """
    if len(arguments) > 1:
        raise ControlsError("- reads one photo from stdin, so it must be the only argument.")


def _is_folder(out: str) -> bool:
    """Returns True for an existing folder, a trailing slash, or no extension.  An unknown extension is a mistake."""
    path = Path(out)
    return path.is_dir() or out.endswith("/") or (not path.suffix and not path.is_file())


def _output_file(out: str) -> Path:
    if out.endswith("/") or Path(out).is_dir() or format_of(out) is None:
        raise ControlsError(
            f"-o {out} is not the name of a photo: expected an extension of {EXTENSIONS}. "
            "For a folder of several photos, end the name with /, as in -o restored/."
        )
    return Path(out)


def _target(source: Path, relative: Path, out: str | None, photo_format: str | None) -> Path:
    extension = FORMATS[photo_format][0] if photo_format and photo_format != format_of(source) else source.suffix
    if out is not None:
        return (Path(out) / relative).with_suffix(extension)
    return source.with_name(f"{source.stem}.restored{extension}")


def _without_results(photos: Sequence[PhotoPaths]) -> list[PhotoPaths]:
    """Leave out results of other inputs: on a rerun the shell expands *.jpg to photos and results."""
    targets = {paths.target for paths in photos}
    comparisons = {comparison_path(target) for target in targets if target is not None}
    return [paths for paths in photos if paths.source not in targets and paths.source not in comparisons]


def _refuse_collisions(photos: Sequence[PhotoPaths], exists: IfExists) -> None:
    sources: dict[Path | None, Path | None] = {}
    for paths in photos:
        if paths.target in sources:
            raise ControlsError(
                f"{sources[paths.target]} and {paths.source} would both be written to {paths.target}. "
                "Restore them one by one, each with its own -o."
            )
        sources[paths.target] = paths.source
    in_place = next((paths for paths in photos if _is_in_place(paths)), None)
    if in_place and exists is IfExists.SKIP:
        raise ControlsError(
            f"the result would be written over its input, {in_place.source}. "
            "Give -o another folder, or use --exists rename or --exists replace."
        )


def _is_in_place(paths: PhotoPaths) -> bool:
    """Returns whether input and result are one file, also through links (realpath survives a loop of links)."""
    if paths.source is None or paths.target is None:
        return False
    return os.path.realpath(paths.source) == os.path.realpath(paths.target)


def comparison_path(target: Path) -> Path:
    """Returns the path of the before-and-after image of a result."""
    return target.with_name(f"{target.stem}.compare.png")


def output_path(path: Path, exists: IfExists) -> Path | None:
    """Returns the path to write to, or None if an existing file must be kept."""
    if exists is IfExists.REPLACE or not path.exists():
        return path
    return None if exists is IfExists.SKIP else unused_path(path)


def unused_path(path: Path) -> Path:
    """Returns the path itself, or else the first free numbered one, such as photo.restored-2.jpg."""
    number, candidate = 2, path
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate
