"""Which files a command works on, and where each result goes."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from models.errors import ControlsError
from models.photo.read import FORMATS, format_of

STDIO = "-"
ENDINGS = ", ".join(ending for group in FORMATS.values() for ending in group)
RESULT = re.compile(r"\.(restored|compare)(-\d+)?$")
"""How the stem of a result ends that was written beside its input."""


class Exists(StrEnum):
    """What to do where the result is already there."""

    SKIP = "skip"
    REPLACE = "replace"
    RENAME = "rename"


@dataclass(frozen=True)
class Work:
    """One input and its place for the result; None stands for stdin and stdout."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return str(self.source) if self.source else "stdin"


@dataclass
class Inputs:
    """Photos with their names relative to the folder they were found in, and a sentence for each word without any."""

    photos: dict[Path, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def find_inputs(words: Sequence[str], out: str | None = None) -> Inputs:
    """What the words name; folders are walked, globs expanded.

    A file that is named outright is taken whatever its ending; inside folders only known endings are.  Results of an
    earlier run, beside their inputs or in an `out` below the folder, are no inputs: a rerun must not restore them.
    """
    inputs = Inputs()
    for word in words:
        if not word:  # Path("") is the current folder: an unset shell variable would restore all that lies there
            inputs.missing[word] = "got an empty name, expected a photo, a folder or a glob."
            continue
        path = Path(word)
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(word, recursive=True))]
        if not matches:
            inputs.missing[word] = f"{word} does not exist, and no file matches it."
        for match in matches:
            if not match.is_dir():
                inputs.photos.setdefault(match, Path(match.name))
                continue
            below = _photos_in(match, out)
            if not below:
                inputs.missing[word] = f"no photo in {match} (looked for {ENDINGS})."
            for file in below:
                inputs.photos.setdefault(file, file.relative_to(match))
    return inputs


def _photos_in(folder: Path, out: str | None) -> list[Path]:
    results = Path(out).resolve() if out is not None else None
    if results is not None and folder.resolve() not in results.parents:
        results = None
    return [
        file
        for file in sorted(folder.rglob("*"))
        if format_of(file) and not file.name.startswith(".") and not RESULT.search(file.stem) and file.is_file()
        if results is None or results not in file.resolve().parents
    ]


@dataclass(frozen=True)
class Plan:
    """What there is to do, and a sentence for each word that names no photo."""

    work: list[Work]
    missing: dict[str, str] = field(default_factory=dict)


def plan_work(words: Sequence[str], out: str | None, kind: str | None, exists: Exists = Exists.SKIP) -> Plan:
    """Where each result goes: -o FILE for one photo, -o FOLDER for any number, else NAME.restored.EXT beside the input.

    Raises:
        ControlsError: stdin is mixed with files, one file is to hold several results, or a result its own input.
    """
    if STDIO in words:
        if len(words) > 1:
            raise ControlsError("- reads one photo from stdin; give it alone.")
        return Plan([Work(None, None if out in (None, STDIO) else _file(str(out)))])
    inputs = find_inputs(words, None if out == STDIO else out)
    if out == STDIO:
        if len(inputs.photos) > 1:
            raise ControlsError(f"-o - writes one photo to stdout; got {len(inputs.photos)}. Give -o a folder.")
        return Plan([Work(source, None) for source in inputs.photos], inputs.missing)
    file = None if out is None or _is_folder(out) else _file(out)
    if file and kind and format_of(file) != kind:
        raise ControlsError(f"got --format {kind} and -o {out}, which is {format_of(file)}. Leave one of them out.")
    if file and len(inputs.photos) > 1:
        raise ControlsError(f"-o {out} is one file, but there are {len(inputs.photos)} photos. Give -o a folder.")
    work = [
        Work(source, file or _target(source, relative, out, kind)) for source, relative in inputs.photos.items()
    ]  # fmt: skip
    work = _without_results(work) if out is None else work
    _refuse_collisions(work, exists)
    return Plan(work, inputs.missing)


def _is_folder(out: str) -> bool:
    """A path that is a folder, ends like one, or has no ending; an unknown ending is more likely a mistake."""
    path = Path(out)
    return path.is_dir() or out.endswith("/") or (not path.suffix and not path.is_file())


def _file(out: str) -> Path:
    if out.endswith("/") or Path(out).is_dir() or format_of(out) is None:
        raise ControlsError(
            f"-o {out} is not a photo's name: expected an ending of {ENDINGS} "
            "(a folder for several photos ends with /, as in -o restored/)."
        )
    return Path(out)


def _target(source: Path, relative: Path, out: str | None, kind: str | None) -> Path:
    ending = FORMATS[kind][0] if kind and kind != format_of(source) else source.suffix
    if out is not None:
        return (Path(out) / relative).with_suffix(ending)
    return source.with_name(f"{source.stem}.restored{ending}")


def _without_results(work: Sequence[Work]) -> list[Work]:
    """Leave out what is another input's result: a shell expands *.jpg to both when a command is given again."""
    targets = {entry.target for entry in work}
    pictures = {compare_name(target) for target in targets if target is not None}
    return [entry for entry in work if entry.source not in targets and entry.source not in pictures]


def _refuse_collisions(work: Sequence[Work], exists: Exists) -> None:
    sources: dict[Path | None, Path | None] = {}
    for entry in work:
        if entry.target in sources:
            raise ControlsError(
                f"{sources[entry.target]} and {entry.source} would both become {entry.target}. "
                "Restore them one by one, each to a place of its own."
            )
        sources[entry.target] = entry.source
    itself = next((entry for entry in work if _is_in_place(entry)), None)
    if itself and exists is Exists.SKIP:
        raise ControlsError(
            f"the result of {itself.source} would take its own place. "
            "Give -o another folder, or --exists rename or replace."
        )


def _is_in_place(work: Work) -> bool:
    """Whether the result would be written over its input, also through links (realpath bears links in a ring)."""
    if work.source is None or work.target is None:
        return False
    return os.path.realpath(work.source) == os.path.realpath(work.target)


def compare_name(target: Path) -> Path:
    """Where the picture of before and after goes that belongs to a result."""
    return target.with_name(f"{target.stem}.compare.png")


def place(path: Path, exists: Exists) -> Path | None:
    """Where to write: the path itself, or with the first free number (photo.restored-2.jpg); None to leave it be."""
    if exists is Exists.REPLACE or not path.exists():
        return path
    return None if exists is Exists.SKIP else free_name(path)


def free_name(path: Path) -> Path:
    """The path, or with the first free number in its name."""
    number, candidate = 2, path
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate
