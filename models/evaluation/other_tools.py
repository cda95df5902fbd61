"""Other tools to compare with: a folder of photos that a tool restored earlier, or a command that runs on each photo.

A command gets the same pixels as our restorer (enlarged, cropped, as lossless PNG).  A folder contains whole photos,
which are cropped in the same way as the ground truth.  All scores are measured by the suite.
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
TOOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESERVED_NAMES = ("input", "truth", AUTO, TOLD)
TIMEOUT_S = 600.0
POSIX = os.name == "posix"


class OtherTool(Protocol):
    """Another tool.  `source` is its command or folder as the user wrote it."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    def covers(self, pair: Pair) -> bool:
        """Returns whether the tool is measured on this pair."""
        ...

    def restore(self, pair: Pair, pictures: Pictures, crop_px: int) -> tuple[Picture, float | None]:
        """Returns the restored photo, of the input's size, and the seconds, or None if they are unknown.

        Raises:
            PhotoError: the tool failed, has no photo for this pair, or returned another size.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ToolFolder:
    """Photos restored earlier: FOLDER/TASK/NAME or FOLDER/NAME, where NAME may have any photo extension."""

    name: str
    folder: Path

    @property
    def source(self) -> str:
        return str(self.folder)

    def covers(self, pair: Pair) -> bool:
        """Returns False for clean photos without a folder `clean`, because few tools have run on them."""
        return pair.task != CLEAN or (self.folder / CLEAN).is_dir()

    def restore(self, pair: Pair, pictures: Pictures, crop_px: int) -> tuple[Picture, float | None]:
        picture = read_picture(self.find(pair))
        if picture.shape[:2] != pictures.whole:
            raise PhotoError(_wrong_size(self.find(pair), picture, pictures.whole))
        return center_crop(picture, crop_px), None

    def find(self, pair: Pair) -> Path:
        """Returns the file for a pair.

        Raises:
            PhotoError: there is none; the message names the paths.
        """
        folders = [self.folder / pair.task, self.folder]
        for folder in folders:
            path = counterpart(pair.name, folder)
            if path.is_file():
                return path
        expected = " or ".join(str(folder / pair.name) for folder in folders)
        raise PhotoError(
            f"{self.name} has no photo for {pair.task}/{pair.name}; expected {expected}, in any photo format"
        )


@dataclass(frozen=True, kw_only=True)
class ToolCommand:
    """A command line with {input} and {output}, run once per photo without a shell; seconds include its start."""

    name: str
    source: str
    timeout_s: float = TIMEOUT_S

    def covers(self, pair: Pair) -> bool:
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
                raise PhotoError(f"{self.name} exited with code 0 but wrote no {OUTPUT} file")
            picture = read_picture(after)
        if picture.shape != pictures.degraded.shape:
            raise PhotoError(_wrong_size(Path(f"{self.name}'s {OUTPUT}"), picture, pictures.degraded.shape[:2]))
        return picture, seconds

    def _run(self, words: Sequence[str], before: Path, after: Path) -> float:
        command = [word.replace(INPUT, str(before)).replace(OUTPUT, str(after)) for word in words]
        started_s = time.monotonic()
        try:
            # in its own session, so that its child processes are killed with it
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
                _, stderr = process.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired as error:
                _kill_process_group(process)
                raise PhotoError(f"{self.name} was stopped: it ran longer than {self.timeout_s:g} s") from error
            except BaseException:  # Ctrl-C does not reach another session
                _kill_process_group(process)
                raise
        if process.returncode:
            last = stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise PhotoError(f"{self.name} failed with exit code {process.returncode}: {''.join(last) or 'no message'}")
        return time.monotonic() - started_s


def parse_other_tool(text: str, timeout_s: float = TIMEOUT_S) -> OtherTool:
    """Parse `NAME=DIR` or `NAME=COMMAND`; without NAME=, the folder or the program gives the name.

    Raises:
        ControlsError: the text is neither a folder nor a command with both placeholders, or the name is invalid.
    """
    name, equals, source = text.partition("=")
    if not equals or not TOOL_NAME.fullmatch(name):  # the equals sign is part of a path or command
        name, source = "", text
    command = INPUT in source and OUTPUT in source
    if not command and not (source and Path(source).is_dir()):
        raise ControlsError(
            f"--against {text}: {source or 'empty text'} is neither a folder nor a command with {INPUT} and {OUTPUT}; "
            "expected NAME=FOLDER or NAME='COMMAND'"
        )
    name = name or (Path(_program(source)).stem if command else Path(source).resolve().name)
    if not TOOL_NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise ControlsError(
            f"--against {text}: {name!r} is not a valid tool name (letters, digits, dot, dash and underscore; "
            f"not {', '.join(RESERVED_NAMES)}); expected NAME={source}"
        )
    return (
        ToolCommand(name=name, source=source, timeout_s=timeout_s)
        if command
        else ToolFolder(name=name, folder=Path(source))
    )


def parse_other_tools(texts: Iterable[str], timeout_s: float = TIMEOUT_S) -> list[OtherTool]:
    """Parse all tools of a run.

    Raises:
        ControlsError: a text is invalid, or two tools have the same name.
    """
    tools = [parse_other_tool(text, timeout_s) for text in texts]
    names = [tool.name for tool in tools]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ControlsError(f"--against uses the name {duplicate} twice; give each tool its own name: NAME=...")
    return tools


def refuse_unrelated_folders(tools: Iterable[OtherTool], pairs: Sequence[Pair]) -> None:
    """Refuse a folder without a photo for any pair, before the run starts.

    Raises:
        ControlsError: there is such a folder.
    """
    for tool in tools:
        if isinstance(tool, ToolFolder) and pairs and not any(_has_result(tool, pair) for pair in pairs):
            first = pairs[0]
            raise ControlsError(
                f"{tool.folder} contains none of the {len(pairs)} requested photos; expected for example "
                f"{tool.folder / first.task / first.name} or {tool.folder / first.name}"
            )


def _has_result(tool: ToolFolder, pair: Pair) -> bool:
    try:
        return tool.find(pair).is_file()
    except PhotoError:
        return False


def _program(command: str) -> str:
    try:
        return shlex.split(command)[0]
    except ValueError as error:
        raise ControlsError(f"--against {command}: {error}. Check the quotes") from error


def _wrong_size(what: Path, picture: Picture, expected: tuple[int, ...]) -> str:
    return (
        f"{what} is {picture.shape[1]}x{picture.shape[0]} px, expected {expected[1]}x{expected[0]} px, the size of the "
        "ground truth (or of the input if there is none)"
    )


def _kill_process_group(process: "subprocess.Popen[bytes]") -> None:
    if not POSIX:
        return process.kill()
    with suppress(ProcessLookupError):  # it may have ended meanwhile
        os.killpg(process.pid, signal.SIGKILL)
