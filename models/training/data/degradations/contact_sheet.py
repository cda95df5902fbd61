"""A sheet of samples, one row a kind, for looking at the synthesis with one's own eyes."""

from collections.abc import Sequence

import cv2
import numpy as np

from models.training.data.degradations.image import Image, as_bytes, from_bytes
from models.training.data.degradations.kinds import SYNTHESIZERS


def contact_sheet(photos: Sequence[Image], seed: int, columns: int = 8, tile_px: int = 192) -> Image:
    """Rows of kinds, the clean row first; photos (H, W, 3) in [0, 1] are cut to tiles from their middle."""
    tiles = [_tile(photo, tile_px) for photo in photos[:columns]]
    rows = [_row("clean", tiles)]
    for row, (name, synthesize) in enumerate(SYNTHESIZERS.items()):
        rows.append(
            _row(name, [synthesize(tile, np.random.default_rng([seed, row, i])) for i, tile in enumerate(tiles)])
        )
    return np.concatenate(rows)


def _tile(photo: Image, tile_px: int) -> Image:
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(photo[top : top + side, left : left + side])
    tile: Image = cv2.resize(square, (tile_px, tile_px), interpolation=cv2.INTER_AREA)
    return tile


def _row(name: str, tiles: Sequence[Image]) -> Image:
    row = as_bytes(np.concatenate(tiles, axis=1))  # putText knows bytes only
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(row, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, color, thickness, cv2.LINE_AA)
    return from_bytes(row)
