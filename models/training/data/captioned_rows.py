"""A data set on disk with image, caption and degradation: write it, read it, train on it.

`python -m models.training captioned-rows PHOTOS --out DATASET` writes DATASET/degraded, DATASET/clean and
DATASET/rows.tsv.  The published DA-CLIP training reads the columns `filepath` and `title` ("caption: word"); this
project reads `filepath`, `clean`, `caption` and `degradation`.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from torch.utils.data import Dataset

from models.errors import TrainingError
from models.training.data.captioned_examples import (
    WORDS,
    CaptionedPair,
    CaptionedPhoto,
    as_example,
    draw_captioned_pair,
    load_captioned_photos,
)
from models.training.data.captions import read_captions
from models.training.data.dataset import Example
from models.training.data.photos import CropConfig, Image, find_photos

COLUMNS = ("filepath", "title", "clean", "caption", "degradation")
HOW_TO_WRITE = "Write it with: python -m models.training captioned-rows PHOTOS --out DATASET"


@dataclass(frozen=True)
class StoredRow:
    """A line of rows.tsv."""

    degraded: Path
    clean: Path
    caption: str
    degradation: str


def read_rows(path: Path) -> list[StoredRow]:
    """Read rows.tsv; its paths are relative to its folder.

    Raises:
        TrainingError: the file cannot be read, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return [
            StoredRow(path.parent / row["filepath"], path.parent / row["clean"], row["caption"], row["degradation"])
            for row in rows
        ]
    except (OSError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is not a table of rows ({error}). {HOW_TO_WRITE}") from error


class StoredExamples(Dataset[Example]):
    """Rows in random order; both pictures get the same random crop and the same random mirror."""

    def __init__(self, rows: Sequence[StoredRow], crop_px: int, seed: int) -> None:
        if not rows:
            raise TrainingError(f"got a table without rows. {HOW_TO_WRITE}")
        self.rows, self.crop_px, self.seed = list(rows), crop_px, seed

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        row = self.rows[int(rng.integers(len(self.rows)))]
        pair = np.concatenate([_read(row.degraded), _read(row.clean)], axis=-1)  # (H, W, 6): one crop for both
        height, width = pair.shape[:2]
        side = min(self.crop_px, height, width)
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        pair = pair[top : top + side, left : left + side]
        if side != self.crop_px:
            pair = cv2.resize(pair, (self.crop_px, self.crop_px), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        if rng.random() < 0.5:
            pair = pair[:, ::-1]
        return as_example(CaptionedPair(pair[..., :3], pair[..., 3:], row.caption, row.degradation))


def _read(path: Path) -> Image:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise TrainingError(f"{path} cannot be decoded as a picture. {HOW_TO_WRITE}")
    picture: Image = pixels.astype(np.float32) / np.float32(255)
    return picture


def write_rows(
    photos: Sequence[CaptionedPhoto], out: Path, *, count: int, crop_px: int, seed: int, wild: bool
) -> Iterator[CaptionedPair]:
    """Write `count` rows, one per iteration, and the table after the last one."""
    crop = CropConfig(crop_px=crop_px, shrink=(0.4, 1.0))
    lines = []
    for index in range(count):
        pair = draw_captioned_pair(photos, crop, index, seed, wild=wild)
        kind = "wild" if wild else pair.degradation
        name = f"{index:06d}-{kind}.png"
        for folder, image in (("degraded", pair.degraded), ("clean", pair.clean)):
            _write(out / folder / name, image)
        title = f"{pair.caption.replace(': ', ' ')}: {pair.degradation}"  # readers split at the colon
        lines.append((f"degraded/{name}", title, f"clean/{name}", pair.caption, pair.degradation))
        yield pair
    with (out / "rows.tsv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(lines)


def _write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.rint(image[..., ::-1] * 255).astype(np.uint8)):
        raise TrainingError(f"cannot write {path}. Check that the disk is not full and the folder is writable.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("photos", type=Path, nargs="+", help="folders of photographs")
    add("--out", type=Path, required=True, help="folder of the data set")
    add("--captions", type=Path, help="file with lines of path, tab, caption; default: captions from folder names")
    add("--count", type=int, default=1000, help="rows to write; the ten kinds take turns; default: 1000")
    add("--wild", action="store_true", help="use the in-the-wild pipeline instead of the ten kinds")
    add("--crop", type=int, default=256, help="side of the pictures in pixels; default: 256")
    add("--seed", type=int, default=0, help="random seed; default: 0")
    add("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photos; default: runs/cache")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the data set; returns the exit code.

    Raises:
        TrainingError: there is no readable photo, the captions cannot be read, or a picture cannot be written.
    """
    folders = arguments.photos
    stated = read_captions(arguments.captions) if arguments.captions else {}
    photos = load_captioned_photos(find_photos(folders), folders, stated, arguments.cache, longest_px=1600)
    if not photos:
        raise TrainingError(f"got no readable photo in {', '.join(map(str, folders))}. Give JPEG or PNG files.")
    pairs = write_rows(
        photos, arguments.out, count=arguments.count, crop_px=arguments.crop, seed=arguments.seed, wild=arguments.wild
    )
    counts = Counter(pair.degradation for pair in pairs)
    kinds = ", ".join(f"{word} {counts[word]}" for word in WORDS if word in counts) or "in-the-wild pipeline"
    console.print(f"{arguments.out / 'rows.tsv'}: {counts.total()} rows ({kinds})", markup=False)
    return 0
