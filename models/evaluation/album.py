"""The worst pictures of each task, kept while a run goes on, so that its page can show them.

A picture is among the worst of all if it was among the worst of those measured until then; so a few small files stand
for a run of any length, and a stopped run goes on with them.
"""

import io
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from models.evaluation.measurements import AUTO, Row
from models.evaluation.pairs import Picture
from models.vocabulary import CLEAN

WORST = 5
SIDE_PX = 640
SUFFIX, QUALITY = ".webp", 90


def worst(rows: Iterable[Row], most: int = WORST) -> dict[str, list[Row]]:
    """The worst rows of each task, worst first: least gained in the automatic mode, then least sure of the right label.

    Where a task has no truths, the label alone decides.  Clean photographs come last, and only those that changed.
    """
    tasks: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if _worth_showing(row)), key=_merit):
        members = tasks.setdefault(row.task, [])
        if len(members) < most:
            members.append(row)
    return dict(sorted(tasks.items(), key=lambda entry: (entry[0] == CLEAN, entry[0])))


class Album:
    """A folder TASK/NAME/PICTURE.webp.  Pictures over 640 px a side are kept smaller."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, row: Row, pictures: Mapping[str, Picture], rows: Iterable[Row]) -> None:
        """Take a measured picture in if it is among the worst of its task so far, and drop whom it displaces."""
        members = worst(rows).get(row.task, [])
        if all(one.key != row.key for one in members):
            return
        place = self._place(row)
        place.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            (place / f"{name}{SUFFIX}").write_bytes(encoded(picture))
        staying = {self._place(one) for one in members}
        for entry in place.parent.iterdir():
            if entry not in staying:
                shutil.rmtree(entry)

    def pictures(self, row: Row) -> dict[str, bytes]:
        """A row's pictures by name, encoded: input, our modes, other tools, truth; empty where none were kept."""
        files = {name: self._place(row) / f"{name}{SUFFIX}" for name in ("input", *row.runs, "truth")}
        return {name: file.read_bytes() for name, file in files.items() if file.is_file()}

    def _place(self, row: Row) -> Path:
        return self._folder / row.task / row.name.replace("/", "_")


def encoded(picture: Picture) -> bytes:
    """A picture small enough to stand fifty times in one page, near enough to show grain and fringes."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()


def _worth_showing(row: Row) -> bool:
    return AUTO in row.runs and (row.task != CLEAN or row.gain_db(AUTO) != 0)


def _merit(row: Row) -> tuple[float, float, str]:
    run = row.runs.get(AUTO)
    sure = 1.0 if run is None or row.expected is None else run.found.get(row.expected, 0.0)
    return row.gain_db(AUTO) or 0.0, sure, row.name
