"""`python -m models.training.data.wild PHOTO... --out sheet.png`: show what the pipeline does, one row a photo."""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from models.errors import ModelsError, PhotoError
from models.training.data.wild.pipeline import degrade
from models.training.data.wild.psf import load_point_spreads

Tile = NDArray[np.uint8]


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m models.training.data.wild", description=__doc__)
    arguments.add_argument("photos", type=Path, nargs="+", help="photographs; each is cut to a square")
    arguments.add_argument("--out", type=Path, required=True, help="the PNG to write")
    arguments.add_argument("--seed", type=int, default=0, help="of the first column; the next ones count up")
    arguments.add_argument("--columns", type=int, default=6)
    arguments.add_argument("--tile-px", type=int, default=256)
    arguments.add_argument("--shakes", type=Path, help="point spreads of shaken cameras instead of ours: .npz, .pkl")
    arguments.add_argument("--displays", type=Path, help="point spreads of displays instead of ours: .npz, .pkl")
    return arguments


def sheet(arguments: argparse.Namespace) -> Tile:
    """Each photo clean, then under `columns` seeds, its words below each."""
    spreads = load_point_spreads(arguments.shakes, arguments.displays)
    rows = []
    for row, path in enumerate(arguments.photos):
        clean = _square(path, arguments.tile_px)
        tiles = [_captioned(clean, "clean")]
        for column in range(arguments.columns):
            seed = (arguments.seed + row * arguments.columns + column) % 2**32
            done = degrade(clean.astype(np.float32) / np.float32(255), seed, spreads=spreads)
            tiles.append(_captioned(np.rint(done.image * 255).astype(np.uint8), f"{seed}: {', '.join(done.words)}"))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)


def _square(path: Path, side: int) -> Tile:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise PhotoError(f"{path} cannot be decoded as a photo. Give JPEG, PNG or WebP files.")
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = np.ascontiguousarray(pixels[top : top + shorter, left : left + shorter])
    tile: Tile = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return tile


def _captioned(tile: Tile, text: str) -> Tile:
    strip = np.full((16, tile.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, text, (2, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([tile, strip])


def main() -> int:
    arguments = parser().parse_args()
    try:
        cv2.imwrite(str(arguments.out), sheet(arguments))
    except ModelsError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
