"""What photos show, in words: from a file that somebody or some model wrote, else from the folders' names.

A captions file has one line a photo, `path<TAB>caption` or `path,caption`; the path is absolute, relative to a folder
of photos, or just the file's name.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import TrainingError


def read_captions(path: Path) -> dict[str, str]:
    """Captions by path as the file states it; a header line "filepath..." or "path..." is passed over.

    Raises:
        TrainingError: it cannot be read, or a line is no path with a caption; the message gives the line's number.
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
    """ "a photo of golden retriever" for golden_retriever-02/x.jpg; numbers and separators go."""
    words = re.sub(r"[\W_]+", " ", re.sub(r"\d+", " ", photo.parent.name)).strip().lower()
    return f"a photo of {words}" if words else "a photo"


def captions_of(photos: Sequence[Path], folders: Sequence[Path], stated: Mapping[str, str]) -> list[str]:
    """One caption a photo: the stated one where there is one, else from its folder."""
    return [_stated(photo, folders, stated) or from_folder(photo) for photo in photos]


def _stated(photo: Path, folders: Sequence[Path], stated: Mapping[str, str]) -> str | None:
    relative = (photo.relative_to(folder) for folder in folders if photo.is_relative_to(folder))
    for name in (str(photo), *(path.as_posix() for path in relative), photo.name):
        if name in stated:
            return stated[name]
    return None
