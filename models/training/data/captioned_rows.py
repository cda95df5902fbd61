"""`python -m models.training.data.captioned_rows PHOTOS --out DATASET`: write rows of image, caption and degradation.

Writes DATASET/degraded, DATASET/clean and DATASET/rows.tsv.  Its columns `filepath` and `title` ("caption: word") are
those of the published DA-CLIP training's table; `clean`, `caption` and `degradation` are for this project's.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from models.errors import ModelsError, TrainingError
from models.training.data.captioned import WORDS, Captioned, Drawn, captioned, draw
from models.training.data.captions import read_captions
from models.training.data.photos import CropConfig, Image, find_photos

COLUMNS = ("filepath", "title", "clean", "caption", "degradation")


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m models.training.data.captioned_rows", description=__doc__)
    arguments.add_argument("photos", type=Path, nargs="+", help="folders of photographs")
    arguments.add_argument("--out", type=Path, required=True, help="the data set's folder")
    arguments.add_argument("--captions", type=Path, help="lines of path, tab, caption; else folder names are captions")
    arguments.add_argument("--count", type=int, default=1000, help="rows to write; the ten kinds take turns")
    arguments.add_argument("--wild", action="store_true", help="the wild pipeline instead of the ten kinds")
    arguments.add_argument("--crop", type=int, default=256, help="side of the pictures in pixels")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where decoded photos are kept")
    return arguments


def write_rows(
    photos: Sequence[Captioned], out: Path, *, count: int, crop_px: int, seed: int, wild: bool
) -> Iterator[Drawn]:
    """Write `count` rows, one at a time as they are asked for, and the table at the end."""
    crop = CropConfig(crop_px=crop_px, shrink=(0.4, 1.0))
    lines = []
    for index in range(count):
        drawn = draw(photos, crop, index, seed, wild=wild)
        kind = "wild" if wild else drawn.degradation
        name = f"{index:06d}-{kind}.png"
        for folder, image in (("degraded", drawn.degraded), ("clean", drawn.clean)):
            _write(out / folder / name, image)
        title = f"{drawn.caption.replace(': ', ' ')}: {drawn.degradation}"  # readers split at the colon
        lines.append((f"degraded/{name}", title, f"clean/{name}", drawn.caption, drawn.degradation))
        yield drawn
    with (out / "rows.tsv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(lines)


def _write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.rint(image[..., ::-1] * 255).astype(np.uint8)):
        raise TrainingError(f"cannot write {path}. Is the disk full?")


def main() -> int:
    console = Console(stderr=True)
    arguments = parser().parse_args()
    try:
        stated = read_captions(arguments.captions) if arguments.captions else {}
        found = captioned(find_photos(arguments.photos), arguments.photos, stated, arguments.cache, longest_px=1600)
        if not found:
            raise TrainingError(
                f"no photo in {', '.join(map(str, arguments.photos))} can be decoded. Give JPEG or PNG."
            )
        options = {"count": arguments.count, "crop_px": arguments.crop, "seed": arguments.seed, "wild": arguments.wild}
        said = [drawn.degradation for drawn in write_rows(found, arguments.out, **options)]
    except ModelsError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 3
    kinds = ", ".join(f"{word} {said.count(word)}" for word in WORDS if word in said) or "the wild pipeline"
    console.print(f"{arguments.out / 'rows.tsv'}: {len(said)} rows ({kinds})", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
