"""The progress of `map`: a bar of rich or tqdm, where one of them is installed, or a function of the caller."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnProgress = Callable[[int, "int | None"], object]
"""Called with the number of images done, and the number of all, where that is known."""
Progress = bool | OnProgress


@contextmanager
def shown_progress(progress: Progress, total: int | None) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each image; `progress` True shows a bar on stderr if that is a terminal."""
    done = 0

    def count(show: OnProgress) -> Callable[[], None]:
        def advance() -> None:
            nonlocal done
            done += 1
            show(done, total)

        return advance

    if callable(progress):
        yield count(progress)
    elif progress and sys.stderr.isatty():
        with _bar(total) as show:
            yield count(show)
    else:
        yield count(lambda done, total: None)


@contextmanager
def _bar(total: int | None) -> Iterator[OnProgress]:
    try:
        from rich.console import Console
        from rich.progress import Progress as RichProgress
    except ModuleNotFoundError:
        with _tqdm_bar(total) as show:
            yield show
        return
    with RichProgress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=total)
        yield lambda done, total: bar.update(task, completed=done)


@contextmanager
def _tqdm_bar(total: int | None) -> Iterator[OnProgress]:
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield lambda done, total: None
        return
    with tqdm(total=total, unit="image", leave=False) as bar:
        yield lambda done, total: bar.update(1)
