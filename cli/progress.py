"""What a person sees while photos are restored: a bar on a terminal, a line a photo everywhere."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.console import is_terminal, stderr

if TYPE_CHECKING:
    from models.drive import Progress as Where


class Watch:
    """A bar with image, pass, tile and step; use as `with watch.bar`."""

    def __init__(self, count: int) -> None:
        self._count, self._number, self._name = count, 0, ""
        columns = (
            TextColumn("{task.description}", markup=False),  # a file may be called "[/]"
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
        )
        self.bar = Progress(*columns, console=stderr, transient=True, disable=not is_terminal())
        self._task = self.bar.add_task("", total=1.0)

    def begins(self, name: str) -> None:
        self._number, self._name = self._number + 1, Path(name).name
        self._show("looking", 0.0)

    def at(self, where: "Where") -> None:
        tile = f" tile {where.tile + 1}/{where.tiles}" if where.tiles > 1 else ""
        self._show(f"pass {where.pass_index + 1}{tile} step {where.step}/{where.steps}", where.fraction)

    def _show(self, doing: str, fraction: float) -> None:
        head = f"[{self._number}/{self._count}] {self._name}"
        self.bar.update(self._task, completed=fraction, description=f"{head} {doing}")
