"""Captions of photos: from a file if there is one, else from folder names.

A captions file has one line per photo, `path<TAB>caption` or `path,caption`.  The path is absolute, relative to a
folder of photos, or just the file name.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import TrainingError


def read_captions(path: Path) -> dict[str, str]:
    """Read the captions by path, as written in the file, without a header line "filepath", "path" or "image".

    Raises:
        TrainingError: the file cannot be read, or a line has no caption; the message gives the line number.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read captions from {path}: {error}. Give lines of path, tab, caption.") from error
    captions = {}
    delimiter = "\t" if "\t" in text else ","
    for number, row in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), start=1):
        if not row or (number == 1 and row[0].lower() in ("filepath", "path", "image")):
            continue
        if len(row) < 2 or not row[1].strip():
            raise TrainingError(f"{path}, line {number}: got no caption, expected path, tab, caption.")
        captions[row[0].strip()] = row[1].strip()
    return captions


def from_folder(photo: Path) -> str:
    """Returns "a photo of golden retriever" for golden_retriever-02/x.jpg; digits and separators are removed."""
    words = re.sub(r"[\W_]+", " ", re.sub(r"\d+", " ", photo.parent.name)).strip().lower()
    return f"a photo of {words}" if words else "a photo"


def captions_of(photos: Sequence[Path], folders: Sequence[Path], stated: Mapping[str, str]) -> list[str]:
    """Returns one caption per photo: from `stated` if it has one, else from the folder name."""
    return [_stated(photo, folders, stated) or from_folder(photo) for photo in photos]


def _stated(photo: Path, folders: Sequence[Path], stated: Mapping[str, str]) -> str | None:
    relative = (photo.relative_to(folder) for folder in folders if photo.is_relative_to(folder))
    for name in (str(photo), *(path.as_posix() for path in relative), photo.name):
        if name in stated:
            return stated[name]
    return None
