"""Which files a command works on, and where each result goes."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from models.errors import ControlsError, PhotoError
from models.photo import FORMATS, format_of

STDIO = "-"


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


def find_inputs(words: Sequence[str]) -> list[tuple[Path, Path]]:
    """Each photo with its name relative to the folder it was found in; folders are walked, globs expanded.

    A file that is named outright is taken whatever its ending; inside folders only known endings are.

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
                for file in sorted(match.rglob("*")):
                    if file.is_file() and format_of(file) and not file.name.startswith("."):
                        found.setdefault(file, file.relative_to(match))
            else:
                found.setdefault(match, Path(match.name))
    if not found:
        endings = ", ".join(ending for group in FORMATS.values() for ending in group)
        raise PhotoError(f"no photo in {', '.join(words)} (looked for {endings}).")
    return list(found.items())


def plan_work(words: Sequence[str], out: str | None, kind: str | None) -> list[Work]:
    """Where each result goes: -o FILE for one photo, -o FOLDER for any number, else NAME.restored.EXT beside the input.

    Raises:
        ControlsError: stdin is mixed with files, or one file is to hold several results.
        PhotoError: as find_inputs.
    """
    if STDIO in words:
        if len(words) > 1:
            raise ControlsError("- reads one photo from stdin; give it alone.")
        return [Work(None, None if out in (None, STDIO) else Path(str(out)))]
    inputs = find_inputs(words)
    if out == STDIO:
        if len(inputs) > 1:
            raise ControlsError(f"-o - writes one photo to stdout; got {len(inputs)}. Give -o a folder.")
        return [Work(inputs[0][0], None)]
    as_file = out is not None and format_of(out) is not None and not Path(out).is_dir()
    if as_file and len(inputs) > 1:
        raise ControlsError(f"-o {out} is one file, but there are {len(inputs)} photos. Give -o a folder.")
    return [Work(source, _target(source, relative, out, as_file, kind)) for source, relative in inputs]


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
