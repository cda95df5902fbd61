"""What families do alike with their tracks: cut an image into tiles, and leave no trace of a step that failed.

Shapes:  H W pixels.  Images are RGB float32 (3, H, W) in [-1, 1].
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from torch import Tensor

from models.restorer import Track
from models.tiles import Tile, tile_grid

T = TypeVar("T")
M = TypeVar("M")


class Tiling(Protocol):
    """Images of at most `native_px` pixels go through whole; larger ones as tiles of `tile_px` a side."""

    @property
    def native_px(self) -> int: ...
    @property
    def tile_px(self) -> int: ...
    @property
    def overlap_px(self) -> int: ...


def cut_up(image: Tensor, tiling: Tiling, tile_px: int | None) -> tuple[list[Tile], int]:
    """The tiles of an image and their overlap in pixels; `tile_px` is the largest side where memory is short."""
    height, width = image.shape[-2:]
    side = tile_px or (max(height, width) if height * width <= tiling.native_px else tiling.tile_px)
    overlap = min(tiling.overlap_px, side // 2)
    return tile_grid(height, width, side, overlap), overlap


def padded_size(tile: Tile, stride: int) -> tuple[int, int]:
    """The tile's height and width as multiples of the network's stride."""
    return tile.height + -tile.height % stride, tile.width + -tile.width % stride


class Rewinding(Protocol[M]):
    """A track that can go back to where it was."""

    def mark(self) -> M: ...

    def rewind(self, mark: M) -> None: ...


@contextmanager
def as_before_on_failure(tracks: Sequence[Rewinding[M]]) -> Iterator[None]:
    """A step that fails, as one without memory does, leaves every track as it was: it may be tried again."""
    marks = [track.mark() for track in tracks]
    try:
        yield
    except Exception:
        for track, mark in zip(tracks, marks, strict=True):
            track.rewind(mark)
        raise


def own(tracks: Sequence[Track], kind: type[T]) -> list[T]:
    """The tracks as a family's own; another family's are a mistake of the driver."""
    found: list[T] = [track for track in tracks if isinstance(track, kind)]
    assert len(found) == len(tracks), "a track of another family"
    return found


def there(value: T | None) -> T:
    """What a track must have by now."""
    assert value is not None, "a track was stepped or finished out of turn"
    return value
