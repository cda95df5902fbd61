"""Which files a command works on, and where each result goes."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from models.errors import ControlsError, PhotoError
from models.photo import FORMATS, format_of

STDIO = "-"
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


def find_inputs(words: Sequence[str], out: str | None = None) -> list[tuple[Path, Path]]:
    """Each photo with its name relative to the folder it was found in; folders are walked, globs expanded.

    A file that is named outright is taken whatever its ending; inside folders only known endings are.  Results of an
    earlier run, beside their inputs or in an `out` below the folder, are no inputs: a rerun must not restore them.

    Raises:
        PhotoError: a word matches nothing, or nothing is a photo.
    """
    found: dict[Path, Path] = {}
    for word in words:
        path = Path(word)
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(word, recursive=True))]
        if not matches:
            raise PhotoError(f"{word} does not exist, and no file matches it.")
        for match in matches:
            if match.is_dir():
                for file in _photos_in(match, out):
                    found.setdefault(file, file.relative_to(match))
            else:
                found.setdefault(match, Path(match.name))
    if not found:
        endings = ", ".join(ending for group in FORMATS.values() for ending in group)
        raise PhotoError(f"no photo in {', '.join(words)} (looked for {endings}).")
    return list(found.items())


def _photos_in(folder: Path, out: str | None) -> list[Path]:
    results = Path(out).resolve() if out is not None else None
    if results is not None and folder.resolve() not in results.parents:
        results = None
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and format_of(file) and not file.name.startswith(".") and not RESULT.search(file.stem)
        if results is None or results not in file.resolve().parents
    ]


def plan_work(words: Sequence[str], out: str | None, kind: str | None) -> list[Work]:
    """Where each result goes: -o FILE for one photo, -o FOLDER for any number, else NAME.restored.EXT beside the input.

    Raises:
        ControlsError: stdin is mixed with files, or one file is to hold several results; the message names two of them.
        PhotoError: as find_inputs.
    """
    if STDIO in words:
        if len(words) > 1:
            raise ControlsError("- reads one photo from stdin; give it alone.")
        return [Work(None, None if out in (None, STDIO) else Path(str(out)))]
    inputs = find_inputs(words, None if out == STDIO else out)
    if out == STDIO:
        if len(inputs) > 1:
            raise ControlsError(f"-o - writes one photo to stdout; got {len(inputs)}. Give -o a folder.")
        return [Work(inputs[0][0], None)]
    as_file = out is not None and format_of(out) is not None and not Path(out).is_dir()
    if as_file and len(inputs) > 1:
        raise ControlsError(f"-o {out} is one file, but there are {len(inputs)} photos. Give -o a folder.")
    work = [Work(source, _target(source, relative, out, as_file, kind)) for source, relative in inputs]
    _refuse_collisions(work)
    return work


def _refuse_collisions(work: Sequence[Work]) -> None:
    sources: dict[Path | None, Path | None] = {}
    for entry in work:
        if entry.target in sources:
            raise ControlsError(
                f"{sources[entry.target]} and {entry.source} would both become {entry.target}. "
                "Restore them one by one, each to a place of its own."
            )
        sources[entry.target] = entry.source


def _target(source: Path, relative: Path, out: str | None, as_file: bool, kind: str | None) -> Path:
    if out is not None and as_file:
        return Path(out)
    ending = FORMATS[kind][0] if kind else source.suffix
    if out is not None:
        return (Path(out) / relative).with_suffix(ending)
    return source.with_name(f"{source.stem}.restored{ending}")


def free_name(path: Path) -> Path:
    """The path, or with the first free number in its name: photo.restored-2.jpg."""
    number, candidate = 2, path
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate
