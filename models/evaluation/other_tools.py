"""Other tools beside ours: a folder of pictures that a tool made earlier, or a command that is run on every picture.

A command gets the very picture that our restorer gets (enlarged, cropped, lossless PNG), so its numbers stand on the
same pixels.  A folder holds whole pictures, cropped here as the truth is.  Everything is measured by us.
"""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from PIL import Image

from models.errors import ControlsError, PhotoError
from models.evaluation.measurements import AUTO, TOLD
from models.evaluation.pairs import Pair, Picture, Pictures, center_crop, counterpart, read_picture
from models.vocabulary import CLEAN

INPUT, OUTPUT = "{input}", "{output}"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
TAKEN = ("input", "truth", AUTO, TOLD)
TIMEOUT_S = 600.0
POSIX = os.name == "posix"


class Other(Protocol):
    """Another tool.  `source` is where its pictures come from, as the user said it."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    def answers(self, pair: Pair) -> bool:
        """Whether it is asked about a pair at all."""
        ...

    def restore(self, pair: Pair, pictures: Pictures, crop_px: int) -> tuple[Picture, float | None]:
        """Its picture, of the input's size, and the seconds it took; None where nobody knows.

        Raises:
            PhotoError: it has none for this pair, or one of another size; the message says which and why.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Pictures made elsewhere: FOLDER/TASK/NAME, or FOLDER/NAME; NAME is the input's, with any picture's ending."""

    name: str
    folder: Path

    @property
    def source(self) -> str:
        return str(self.folder)

    def answers(self, pair: Pair) -> bool:
        """Clean photographs are asked for only where there is a folder of them: few tools have been run on those."""
        return pair.task != CLEAN or (self.folder / CLEAN).is_dir()

    def restore(self, pair: Pair, pictures: Pictures, crop_px: int) -> tuple[Picture, float | None]:
        picture = read_picture(self.find(pair))
        if picture.shape[:2] != pictures.whole:
            raise PhotoError(_sizes(self.find(pair), picture, pictures.whole))
        return center_crop(picture, crop_px), None

    def find(self, pair: Pair) -> Path:
        """The file that answers a pair.

        Raises:
            PhotoError: there is none; the message says where it was looked for.
        """
        places = [self.folder / pair.task, self.folder]
        for place in places:
            path = counterpart(pair.name, place)
            if path.is_file():
                return path
        looked = " and ".join(str(place / pair.name) for place in places)
        raise PhotoError(
            f"{self.name} has no picture of {pair.task}/{pair.name}: looked for {looked}, any picture format"
        )


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line with {input} and {output}, run once a picture without a shell; seconds include its start."""

    name: str
    source: str
    timeout_s: float = TIMEOUT_S

    def answers(self, pair: Pair) -> bool:
        return True

    def restore(self, pair: Pair, pictures: Pictures, crop_px: int) -> tuple[Picture, float | None]:
        with TemporaryDirectory(prefix="undegrade-") as folder:
            stem = Path(pair.name).stem
            before, after = Path(folder) / "in" / f"{stem}.png", Path(folder) / "out" / f"{stem}.png"
            for path in (before, after):
                path.parent.mkdir()
            Image.fromarray(pictures.degraded).save(before)
            seconds = self._run(shlex.split(self.source), before, after)
            if not after.is_file():
                raise PhotoError(f"{self.name} ended well but wrote no {OUTPUT}")
            picture = read_picture(after)
        if picture.shape != pictures.degraded.shape:
            raise PhotoError(_sizes(Path(f"{self.name}'s {OUTPUT}"), picture, pictures.degraded.shape[:2]))
        return picture, seconds

    def _run(self, words: Sequence[str], before: Path, after: Path) -> float:
        command = [word.replace(INPUT, str(before)).replace(OUTPUT, str(after)) for word in words]
        started_s = time.monotonic()
        try:
            # a session of its own, so that a tool's own children end with it
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=POSIX,
            )
        except OSError as error:
            raise PhotoError(f"{self.name} cannot be started: {command[0]}: {error.strerror}") from error
        with process:
            try:
                _, said = process.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired as error:
                _kill(process)
                raise PhotoError(f"{self.name} was stopped: it ran longer than {self.timeout_s:g} s") from error
            except BaseException:  # Ctrl-C does not reach another session
                _kill(process)
                raise
        if process.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise PhotoError(f"{self.name} failed with exit code {process.returncode}: {''.join(last) or 'no message'}")
        return time.monotonic() - started_s


def read_other(text: str, timeout_s: float = TIMEOUT_S) -> Other:
    """`NAME=DIR` or `NAME=COMMAND` as the user wrote it; NAME may be left out: the folder's or the program's own then.

    Raises:
        ControlsError: it is neither a folder nor a command with both placeholders, or its name cannot be used.
    """
    name, equals, source = text.partition("=")
    if not equals or not NAME.fullmatch(name):  # a path or a command that happens to hold an equals sign
        name, source = "", text
    command = INPUT in source and OUTPUT in source
    if not command and not (source and Path(source).is_dir()):
        raise ControlsError(
            f"--against {text}: {source or 'nothing'} is no folder, and no command with both {INPUT} and {OUTPUT}. "
            "Give NAME=FOLDER or NAME='COMMAND'"
        )
    name = name or (Path(_program(source)).stem if command else Path(source).resolve().name)
    if not NAME.fullmatch(name) or name in TAKEN:
        raise ControlsError(
            f"--against {text}: {name!r} cannot name a tool (letters, digits, dot, dash and underscore; "
            f"not {', '.join(TAKEN)}). Write NAME={source}"
        )
    return Command(name=name, source=source, timeout_s=timeout_s) if command else Folder(name=name, folder=Path(source))


def read_others(texts: Iterable[str], timeout_s: float = TIMEOUT_S) -> list[Other]:
    """All of a run's tools.

    Raises:
        ControlsError: one cannot be understood, or two have one name.
    """
    others = [read_other(text, timeout_s) for text in texts]
    names = [other.name for other in others]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ControlsError(f"--against names {twice} twice; give each tool a name of its own: NAME=...")
    return others


def refuse_strangers(others: Iterable[Other], pairs: Sequence[Pair]) -> None:
    """A folder that answers no pair at all is the wrong folder; that is told before an hour's run.

    Raises:
        ControlsError: there is such a folder.
    """
    for other in others:
        if isinstance(other, Folder) and pairs and not any(_found(other, pair) for pair in pairs):
            first = pairs[0]
            raise ControlsError(
                f"{other.folder} holds none of the {len(pairs)} pictures asked for; expected "
                f"{other.folder / first.task / first.name}, or the same without {first.task}/"
            )


def _found(other: Folder, pair: Pair) -> bool:
    try:
        return other.find(pair).is_file()
    except PhotoError:
        return False


def _program(command: str) -> str:
    try:
        return shlex.split(command)[0]
    except ValueError as error:
        raise ControlsError(f"--against {command}: {error}. Check its quotes") from error


def _sizes(what: Path, picture: Picture, expected: tuple[int, ...]) -> str:
    return (
        f"{what} is {picture.shape[1]}x{picture.shape[0]} px, expected {expected[1]}x{expected[0]} px, the size of the "
        "ground truth (or of the input, where there is none)"
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if not POSIX:
        return process.kill()
    with suppress(ProcessLookupError):  # it may end by itself meanwhile
        os.killpg(process.pid, signal.SIGKILL)
