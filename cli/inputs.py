"""Decides which files a command reads and where each result is written."""

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain, count
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
    named: bool = False
    """Whether the user chose the name of the result."""
    shared_name: bool = False
    """Whether the name of the result has a number, because another photo has it."""

    @property
    def name(self) -> str:
        return str(self.source) if self.source else "stdin"


@dataclass
class FoundPhotos:
    """Photos with their paths relative to the folder they were found in, and a message per argument without photos.

    Attributes:
        left_out: for each reason, the files and folders that are no photos to restore.
    """

    photos: dict[Path, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, name: str | Path) -> None:
        """Note a file that is not restored."""
        self.left_out.setdefault(reason, []).append(str(name))


def read_input(source: Path | None) -> Photo:
    """Read a photo from a file, or from stdin if `source` is None."""
    limits = Limits()
    return read_photo(source or sys.stdin.buffer.read(limits.file_bytes + 1), limits)


def read_photo_and_file(source: Path | None, *, keep_file: bool) -> tuple[Photo, bytes | None]:
    """Read a photo as `read_input` does, and return its file, too, if that is wanted."""
    if not keep_file:
        return read_input(source), None
    limits = Limits()
    if source is None:
        data = sys.stdin.buffer.read(limits.file_bytes + 1)
        return read_photo(data, limits), data
    photo = read_photo(source, limits)
    return photo, source.read_bytes()


def find_photos(arguments: Sequence[str], out: str | None = None) -> FoundPhotos:
    """Find the photos that the arguments name.  Folders are searched recursively, glob patterns are expanded.

    A file that is named directly is taken with any extension; in folders only known extensions count.  Results of an
    earlier run, beside their inputs or in an `out` inside the folder, are left out: a rerun must not restore them.
    A file with two names, by a link, is restored once.
    """
    found, seen = FoundPhotos(), dict[tuple[int, int], Path]()
    for argument in arguments:
        if not argument:  # Path("") is the current folder: an unset shell variable would restore everything in it
            found.missing[argument] = "got an empty name, expected a photo, a folder or a glob pattern."
            continue
        exists = os.path.lexists(argument)
        matches = [argument] if exists else sorted(glob.glob(argument, recursive=True))
        if not matches:
            found.missing[argument] = _why_missing(argument)
        for match in map(Path, matches):
            if not os.path.isdir(match):
                _take(found, seen, match, Path(match.name))
                continue
            files = _photos_in(match, out, found)
            if not files:
                found.missing[argument] = f"no photo in {match} (expected an extension of {EXTENSIONS})."
            for file in files:
                _take(found, seen, file, file.relative_to(match))
    return found


def _why_missing(argument: str) -> str:
    try:
        os.stat(argument)
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"cannot read {argument}: {error.strerror}."
    return f"{argument} does not exist, and no file matches it as a pattern."


def _take(found: FoundPhotos, seen: dict[tuple[int, int], Path], file: Path, relative: Path) -> None:
    """Add a photo, unless it has been found under another name."""
    try:
        status = file.stat()
        first = seen.setdefault((status.st_dev, status.st_ino), file)
    except OSError:
        first = file  # reading it will say what is wrong
    if first == file:
        found.photos.setdefault(file, relative)
    else:
        found.leave_out("other names of a photo", file)


def _photos_in(folder: Path, out: str | None, found: FoundPhotos) -> list[Path]:
    """Returns the photos in a folder, sorted; notes what is left out, and folders that cannot be read."""
    results = Path(out).resolve() if out is not None else None
    if results is not None and folder.resolve() not in results.parents:
        results = None

    def unreadable(error: OSError) -> None:
        found.missing[str(error.filename)] = f"cannot read the folder {error.filename}: {error.strerror}."

    files = []
    for place, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(place)
        for name in list(folders):
            reason = "hidden" if name.startswith(".") else "linked folders" if (here / name).is_symlink() else None
            if reason is not None or (results is not None and (here / name).resolve() == results):
                folders.remove(name)
            if reason is not None:
                found.leave_out(reason, here / name)
        for name in names:
            if (reason := _why_not(here / name)) is None:
                files.append(here / name)
            else:
                found.leave_out(reason, here / name)
    return sorted(files)


def _why_not(file: Path) -> str | None:
    """Returns the reason to leave out a file of a folder; None for a photo."""
    if file.name.startswith("."):
        return "hidden"
    if RESULT_STEM.search(file.stem):
        return "results of an earlier run"
    if format_of(file) is None:
        return "other extensions"
    return None if os.path.isfile(file) else "not regular files"


@dataclass(frozen=True)
class OutputPlan:
    """The photos to restore, and a message per argument that names no photo."""

    photos: list[PhotoPaths]
    missing: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)


def plan_outputs(
    arguments: Sequence[str], out: str | None, photo_format: str | None, exists: IfExists = IfExists.SKIP
) -> OutputPlan:
    """Choose a path for each result.

    -o FILE is for one photo, -o FOLDER for any number.  Without -o the result is NAME.restored.EXT beside the input.
    Where two photos would have one result, the later one, by name, gets a number.

    Raises:
        ControlsError: stdin is mixed with files, or a result would replace its own input.
    """
    if STDIO in arguments:
        refuse_mixed_stdin(arguments)
        return OutputPlan([PhotoPaths(None, None if out in (None, STDIO) else _output_file(str(out)), named=True)])
    found = find_photos(arguments, None if out == STDIO else out)
    if out == STDIO:
        if len(found.photos) > 1:
            raise ControlsError(f"-o - writes one photo to stdout, got {len(found.photos)} photos. Give -o a folder.")
        return OutputPlan([PhotoPaths(source, None) for source in found.photos], found.missing, found.left_out)
    file = None if out is None or _is_folder(out) else _output_file(out)
    if file and photo_format and format_of(file) != photo_format:
        raise ControlsError(
            f"got --format {photo_format} and -o {out}, which is {format_of(file)}. Leave one of them out."
        )
    if file and len(found.photos) > 1:
        raise ControlsError(f"-o {out} is one file, but there are {len(found.photos)} photos. Give -o a folder.")
    photos = [
        PhotoPaths(source, file or _target(source, relative, out, photo_format), named=file is not None)
        for source, relative in found.photos.items()
    ]
    photos = _without_results(photos) if out is None else photos
    photos = photos if file else _with_own_names(photos)
    _refuse_in_place(photos, exists)
    return OutputPlan(photos, found.missing, found.left_out)


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
        return fitting(Path(out) / relative.parent, relative.stem, extension)
    return fitting(source.parent, source.stem, f".restored{extension}")


def fitting(folder: Path, stem: str, ending: str) -> Path:
    """Returns folder/stem+ending; the stem is cut at a character where the file system allows no such long name."""
    room = _longest_name_bytes(folder) - len(os.fsencode(ending))
    while len(os.fsencode(stem)) > room and len(stem) > 1:
        stem = stem[:-1]
    return folder / f"{stem}{ending}"


def _longest_name_bytes(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):  # the folder is not there yet
        return 255


def _without_results(photos: Sequence[PhotoPaths]) -> list[PhotoPaths]:
    """Leave out results of other inputs: on a rerun the shell expands *.jpg to photos and results."""
    targets = {paths.target for paths in photos}
    comparisons = {comparison_path(target) for target in targets if target is not None}
    return [paths for paths in photos if paths.source not in targets and paths.source not in comparisons]


def _with_own_names(photos: Sequence[PhotoPaths]) -> list[PhotoPaths]:
    """Give each photo a result of its own.  The names depend neither on the order of the arguments nor on the disk."""
    wanted, taken = {paths.target for paths in photos}, set[Path]()
    own: dict[Path | None, PhotoPaths] = {}
    # A photo that keeps its extension comes first
    order = sorted(photos, key=lambda paths: (not _same_extension(paths), str(paths.source)))
    for paths in order:
        target = paths.target
        if shared := target is not None and target in taken:
            assert target is not None
            target = next(path for path in numbered(target) if path not in wanted and path not in taken)
        if target is not None:
            taken.add(target)
        own[paths.source] = replace(paths, target=target, shared_name=shared)
    return [own[paths.source] for paths in photos]


def _same_extension(paths: PhotoPaths) -> bool:
    return None not in (paths.source, paths.target) and Path(paths.name).suffix == Path(str(paths.target)).suffix


def _refuse_in_place(photos: Sequence[PhotoPaths], exists: IfExists) -> None:
    in_place = next((paths for paths in photos if is_in_place(paths)), None)
    if in_place and exists is IfExists.SKIP:
        raise ControlsError(
            f"the result would be written over its input, {in_place.source}. "
            "Give -o another folder, or use --exists rename or --exists replace."
        )


def is_in_place(paths: PhotoPaths) -> bool:
    """Returns whether input and result are one file, also through links (realpath survives a loop of links)."""
    if paths.source is None or paths.target is None:
        return False
    return os.path.realpath(paths.source) == os.path.realpath(paths.target)


def comparison_path(target: Path) -> Path:
    """Returns the path of the before-and-after image of a result."""
    return fitting(target.parent, target.stem, ".compare.png")


def output_path(path: Path, exists: IfExists) -> Path | None:
    """Returns the path to write to, or None if an existing file must be kept."""
    if exists is IfExists.REPLACE or not os.path.lexists(path):
        return path
    return None if exists is IfExists.SKIP else unused_path(path)


def unused_path(path: Path) -> Path:
    """Returns the path itself, or else the first free numbered one, such as photo.restored-2.jpg."""
    return next(candidate for candidate in chain([path], numbered(path)) if not os.path.lexists(candidate))


def numbered(path: Path) -> Iterator[Path]:
    """Yields NAME-2.EXT, NAME-3.EXT, ..."""
    for number in count(2):
        yield fitting(path.parent, path.stem, f"-{number}{path.suffix}")
