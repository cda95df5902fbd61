"""Contact sheets of the synthetic damage, to check it by eye: the single kinds, and the in-the-wild pipeline."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from models.errors import PhotoError
from models.training.data.degradations import SYNTHESIZERS
from models.training.data.degradations.image_operations import Image, as_bytes, from_bytes
from models.training.data.photos import find_photos
from models.training.data.wild import PointSpreads, degrade, load_point_spreads

Tile = NDArray[np.uint8]


def degradation_sheet(photos: Sequence[Image], seed: int, columns: int = 8, tile_px: int = 192) -> Image:
    """Returns one row per kind, the clean row first; photos are RGB (H, W, 3) in [0, 1], cut to centered squares."""
    tiles: list[Image] = [_square(photo, tile_px) for photo in photos[:columns]]
    rows = [_titled("clean", tiles)]
    for row, (name, synthesize) in enumerate(SYNTHESIZERS.items()):
        degraded = [synthesize(tile, np.random.default_rng([seed, row, i])) for i, tile in enumerate(tiles)]
        rows.append(_titled(name, degraded))
    return np.concatenate(rows)


def _titled(name: str, tiles: Sequence[Image]) -> Image:
    row = as_bytes(np.concatenate(tiles, axis=1))  # putText supports bytes only
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(row, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, color, thickness, cv2.LINE_AA)
    return from_bytes(row)


def wild_sheet(photos: Sequence[Tile], seed: int, columns: int, tile_px: int, spreads: PointSpreads) -> Tile:
    """Returns one row per photo: clean, then degraded with `columns` seeds, the words below each tile.

    Photos are BGR (H, W, 3).
    """
    rows = []
    for row, photo in enumerate(photos):
        clean: Tile = _square(photo, tile_px).astype(np.uint8)
        tiles = [_captioned(clean, "clean")]
        for column in range(columns):
            own_seed = (seed + row * columns + column) % 2**32
            done = degrade(clean.astype(np.float32) / np.float32(255), own_seed, spreads=spreads)
            pixels = np.rint(done.image * 255).astype(np.uint8)
            tiles.append(_captioned(pixels, f"{own_seed}: {', '.join(done.words)}"))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)


def _captioned(tile: Tile, text: str) -> Tile:
    strip = np.full((16, tile.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, text, (2, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([tile, strip])


def _square(photo: NDArray[np.generic], side: int) -> NDArray[np.float32]:
    """Cut the centered square and resize it to (side, side, 3), in the type of the photo."""
    height, width = photo.shape[:2]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = np.ascontiguousarray(photo[top : top + shorter, left : left + shorter])
    resized: NDArray[np.float32] = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    return resized


def _read(file: Path, channels: int) -> Tile:
    pixels = cv2.imread(str(file), channels)
    if pixels is None:
        raise PhotoError(f"{file} cannot be decoded as a photo. Give JPEG, PNG or WebP files.")
    read: Tile = pixels.astype(np.uint8, copy=False)
    return read


def add_degradation_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("photos", type=Path, help="folder of photographs")
    add("--out", type=Path, required=True, help="PNG file to write")
    add("--seed", type=int, default=0, help="random seed; default: 0")
    add("--columns", type=int, default=8, help="photos to draw from the folder; default: 8")
    add("--tile-px", type=int, default=192, help="side of a tile in pixels; default: 192")


def run_degradations(arguments: argparse.Namespace, console: Console) -> int:
    """Write the sheet of the single kinds; returns the exit code.

    Raises:
        TrainingError: the folder is missing or holds no photo.
        PhotoError: a photo cannot be decoded.
    """
    files = find_photos([arguments.photos])
    chosen = np.random.default_rng(arguments.seed).choice(len(files), min(arguments.columns, len(files)), replace=False)
    photos = [from_bytes(_read(files[i], cv2.IMREAD_COLOR_RGB)) for i in chosen]
    sheet = degradation_sheet(photos, arguments.seed, arguments.columns, arguments.tile_px)
    cv2.imwrite(str(arguments.out), cv2.cvtColor(as_bytes(sheet), cv2.COLOR_RGB2BGR))
    console.print(f"wrote {arguments.out}", markup=False)
    return 0


def add_wild_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("photos", type=Path, nargs="+", help="photographs; each is cut to a centered square")
    add("--out", type=Path, required=True, help="PNG file to write")
    add("--seed", type=int, default=0, help="seed of the first tile; the next tiles count up; default: 0")
    add("--columns", type=int, default=6, help="degraded tiles per photo; default: 6")
    add("--tile-px", type=int, default=256, help="side of a tile in pixels; default: 256")
    add("--shakes", type=Path, help="point spreads of camera shake (.npz, .safetensors, .pkl); default: our own")
    add("--displays", type=Path, help="point spreads of displays (.npz, .safetensors, .pkl); default: our own")


def run_wild(arguments: argparse.Namespace, console: Console) -> int:
    """Write the sheet of the in-the-wild pipeline; returns the exit code.

    Raises:
        TrainingError: point spreads cannot be read.
        PhotoError: a photo cannot be decoded.
    """
    spreads = load_point_spreads(arguments.shakes, arguments.displays)
    photos = [_read(file, cv2.IMREAD_COLOR) for file in arguments.photos]
    sheet = wild_sheet(photos, arguments.seed, arguments.columns, arguments.tile_px, spreads)
    cv2.imwrite(str(arguments.out), sheet)
    console.print(f"wrote {arguments.out}", markup=False)
    return 0
