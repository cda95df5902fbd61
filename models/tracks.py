"""Operations on tracks that all families share: cut an image into tiles, and undo a step that failed.

Shapes:  H W pixels.  Images are RGB float32 (3, H, W) in [-1, 1].
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isqrt
from typing import Protocol, TypeVar

from torch import Tensor

from models.frames import Frame, framed_grid
from models.restorer import Track
from models.tiles import Tile

T = TypeVar("T")
M = TypeVar("M")


class Tiling(Protocol):
    """Images of at most `native_px` pixels are processed whole; larger ones as tiles of at most as many pixels."""

    @property
    def native_px(self) -> int: ...
    @property
    def overlap_px(self) -> int: ...


def cut_into_tiles(
    image: Tensor, tiling: Tiling, stride: int, tile_px: int | None, frames: Sequence[Frame] = ()
) -> tuple[list[Tile], int]:
    """Returns the tiles of an image with the fewest computed pixels, and their overlap in pixels.

    Args:
        stride: the network's; its multiples are the sides of tiles.
        tile_px: tiles have at most its square pixels, in place of `native_px`; for when memory is short.
        frames: shapes that tiles should have (models.frames).
    """
    height, width = image.shape[-2:]
    area_px = tiling.native_px if tile_px is None else tile_px**2
    overlap_px = min(tiling.overlap_px, isqrt(area_px) // 2)
    return framed_grid(height, width, area_px, overlap_px, stride, frames), overlap_px


class Rewindable(Protocol[M]):
    """A track that can return to an earlier state."""

    def mark(self) -> M: ...

    def rewind(self, mark: M) -> None: ...


@contextmanager
def rewound_on_failure(tracks: Sequence[Rewindable[M]]) -> Iterator[None]:
    """Restore every track to its state before the block if the block fails, so that the step can be tried again."""
    marks = [track.mark() for track in tracks]
    try:
        yield
    except Exception:
        for track, mark in zip(tracks, marks, strict=True):
            track.rewind(mark)
        raise


def of_family(tracks: Sequence[Track], kind: type[T]) -> list[T]:
    """Returns the tracks as tracks of this family; a track of another family is a bug of the driver."""
    found: list[T] = [track for track in tracks if isinstance(track, kind)]
    assert len(found) == len(tracks), f"expected tracks of type {kind.__name__} only"
    return found
