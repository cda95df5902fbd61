"""Keeps the pictures of the worst rows of each task while a run goes on, for the HTML report.

A row that is among the worst at the end was among the worst when it was measured.  So it is enough to keep a few small
files at any time, and a stopped run can continue with them.
"""

import io
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from models.evaluation.measurements import AUTO, Row
from models.evaluation.pairs import Picture
from models.vocabulary import CLEAN

WORST_PER_TASK = 5
MAX_SIDE_PX = 640
SUFFIX, QUALITY = ".webp", 90


def worst_rows(rows: Iterable[Row], most: int = WORST_PER_TASK) -> dict[str, list[Row]]:
    """Returns the worst rows of each task, worst first: lowest PSNR gain in the automatic mode, then lowest probability
    of the expected label.

    Without ground truths, the probability alone decides.  Clean photos come last, and only those that changed.
    """
    tasks: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if _is_shown(row)), key=_quality):
        members = tasks.setdefault(row.task, [])
        if len(members) < most:
            members.append(row)
    return dict(sorted(tasks.items(), key=lambda entry: (entry[0] == CLEAN, entry[0])))


class Album:
    """A folder of TASK/NAME/PICTURE.webp.  Pictures larger than 640 px a side are stored smaller."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, row: Row, pictures: Mapping[str, Picture], rows: Iterable[Row]) -> None:
        """Store the pictures of a row if it is among the worst of its task so far; delete those that no longer are."""
        members = worst_rows(rows).get(row.task, [])
        if all(member.key != row.key for member in members):
            return
        folder = self._path(row)
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            (folder / f"{name}{SUFFIX}").write_bytes(encode_webp(picture))
        kept = {self._path(member) for member in members}
        for entry in folder.parent.iterdir():
            if entry not in kept:
                shutil.rmtree(entry)

    def pictures(self, row: Row) -> dict[str, bytes]:
        """Returns a row's encoded pictures by name: input, modes, other tools, truth; empty if none were stored."""
        files = {name: self._path(row) / f"{name}{SUFFIX}" for name in ("input", *row.runs, "truth")}
        return {name: file.read_bytes() for name, file in files.items() if file.is_file()}

    def _path(self, row: Row) -> Path:
        return self._folder / row.task / row.name.replace("/", "_")


def encode_webp(picture: Picture) -> bytes:
    """Returns a WebP file that is small enough for fifty in one page, but still shows grain and color fringes."""
    image = Image.fromarray(picture)
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()


def _is_shown(row: Row) -> bool:
    return AUTO in row.runs and (row.task != CLEAN or row.psnr_gain_db(AUTO) != 0)


def _quality(row: Row) -> tuple[float, float, str]:
    run = row.runs.get(AUTO)
    probability = 1.0 if run is None or row.expected is None else run.found.get(row.expected, 0.0)
    return row.psnr_gain_db(AUTO) or 0.0, probability, row.name
