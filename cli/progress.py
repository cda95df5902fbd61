"""Progress bars on stderr.  They are drawn on a terminal only, and disappear when they end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cli.console import stderr, stderr_is_terminal, visible

if TYPE_CHECKING:
    from models.drive import Progress as PhotoPosition

OnBytes = Callable[[int, int], None]
"""Called with the number of bytes done and the number of all bytes."""


def progress_bar(*counters: ProgressColumn) -> Progress:
    """Returns a bar with a description to its left and `counters` to its right; start it with `with`."""
    description = TextColumn("{task.description}", markup=False)  # a file may be called "[/]"
    return Progress(
        description, BarColumn(), *counters, console=stderr, transient=True, disable=not stderr_is_terminal()
    )


@contextmanager
def byte_progress(title: str) -> Iterator[OnBytes]:
    """Show how many bytes are done, how fast, and how long the rest will take."""
    with progress_bar(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(visible(title), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class PhotoProgress:
    """Shows photo, pass, tile and step of a restoring run; use it as `with photo_progress.bar`."""

    def __init__(self, count: int) -> None:
        self._count, self._number, self._name = count, 0, ""
        self.bar = progress_bar(TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn())
        self._task = self.bar.add_task("", total=1.0)

    def start_photo(self, name: str) -> None:
        self._number, self._name = self._number + 1, Path(name).name
        self._show("assessing", 0.0)

    def update(self, position: "PhotoPosition") -> None:
        tile = f" tile {position.tile + 1}/{position.tiles}" if position.tiles > 1 else ""
        stage = f"pass {position.pass_index + 1}{tile} step {position.step}/{position.steps}"
        self._show(stage, position.fraction)

    def _show(self, stage: str, fraction: float) -> None:
        description = f"[{self._number}/{self._count}] {self._name} {stage}"
        self.bar.update(self._task, completed=fraction, description=visible(description))
