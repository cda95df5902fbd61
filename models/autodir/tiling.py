"""The tiles of a pass: as many pixels as the bundle, the request, and the memory for its network allow."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.autodir.config import LoopConfig
from models.autodir.specialists import Specialists
from models.autodir.track import ImageRun
from models.frames import Frame
from models.tiles import Tile
from models.tracks import cut_into_tiles


@dataclass(frozen=True, kw_only=True)
class _SmallTiling:
    """A bundle's limits, in pixels of a photo before its enlargement."""

    native_px: int
    overlap_px: int


def tiles_of(
    run: ImageRun, loop: LoopConfig, specialists: Specialists, device: torch.device, stride: int,
    frames: Sequence[Frame],
) -> tuple[list[Tile], int]:  # fmt: skip
    """Returns the tiles of an image for its next pass, and their overlap; limits count pixels of the final result.

    Args:
        stride: of the network that repairs this pass.
        frames: shapes that tiles should have (models.frames).
    """
    tiling = _SmallTiling(native_px=loop.native_px // run.factor**2, overlap_px=loop.overlap_px // run.factor)
    asked = None if run.tile_px is None else run.tile_px // run.factor
    if run.specialist is not None:
        height, width = run.image.shape[-2:]
        most = tiling.native_px if asked is None else asked**2
        allowed = specialists.tile_px(run.specialist, min(most, height * width), device)
        asked = asked if allowed is None else min(allowed, asked or allowed)
    return cut_into_tiles(run.image, tiling, stride, asked, frames)
