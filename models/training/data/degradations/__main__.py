"""`python -m models.training.data.degradations PHOTO_DIR OUT.png`: a contact sheet of every kind."""

import argparse
from pathlib import Path

import cv2
import numpy as np

from models.errors import PhotoError
from models.training.data.degradations.contact_sheet import contact_sheet
from models.training.data.degradations.image import Image, as_bytes, from_bytes
from models.training.data.photos import find_photos


def main() -> None:
    parser = argparse.ArgumentParser(prog="models.training.data.degradations", description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--tile-px", type=int, default=192)
    arguments = parser.parse_args()
    files = find_photos([arguments.photos])
    chosen = np.random.default_rng(arguments.seed).choice(len(files), min(arguments.columns, len(files)), replace=False)
    photos = [_read(files[i]) for i in chosen]
    sheet = contact_sheet(photos, arguments.seed, arguments.columns, arguments.tile_px)
    cv2.imwrite(str(arguments.out), cv2.cvtColor(as_bytes(sheet), cv2.COLOR_RGB2BGR))


def _read(file: Path) -> Image:
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise PhotoError(f"{file} cannot be decoded as a photo")
    return from_bytes(pixels)


if __name__ == "__main__":
    main()
