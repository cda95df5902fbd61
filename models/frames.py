"""Frames: the few shapes of pictures and tiles that are worth a CUDA graph.

A graph holds for one shape, takes about a second to capture, and keeps memory.  Photos have hundreds of sizes, so on a
device with graphs a picture, or a tile of a large one, is padded to the smallest frame that holds it.  Where that would
compute much more, it keeps its own shape and runs without a graph.

The list was chosen from real photo sizes, and its sizes are multiples of 64 (benchmarks/frames.py).

Shapes:  heights and widths in pixels.
"""

from collections.abc import Sequence

from models.tiles import Tile, even_grid, tile_grid

Frame = tuple[int, int]

FRAMES: tuple[Frame, ...] = (
    (512, 512),
    (448, 640),
    (576, 832),
    (640, 832),
    (576, 1024),
    (896, 704),
    (704, 1024),
    (896, 832),
    (1088, 704),
    (704, 1088),
    (768, 1024),
    (1088, 768),
    (768, 1088),
    (1024, 832),
    (1344, 640),
    (1408, 640),
    (1280, 704),
    (704, 1344),
    (832, 1152),
    (1152, 832),
    (1088, 896),
    (896, 1088),
    (832, 1216),
    (768, 1344),
)

MOST_PADDING = 1.25
"""A frame is taken only if it computes at most this many times the pixels."""


def padded_size(height: int, width: int, stride: int, frames: Sequence[Frame] = ()) -> Frame:
    """Returns the shape that the network computes for a picture or tile: a frame, or else multiples of the stride."""
    own = height + -height % stride, width + -width % stride
    holding = [
        frame for frame in frames
        if frame[0] >= height and frame[1] >= width and not frame[0] % stride and not frame[1] % stride
    ]  # fmt: skip
    best = min(holding, key=area, default=own)
    return best if area(best) <= MOST_PADDING * area(own) else own


def framed_grid(
    height: int, width: int, area_px: int, overlap_px: int, stride: int, frames: Sequence[Frame] = ()
) -> list[Tile]:
    """Returns tiles of at most `area_px` pixels that cover an image: of a frame's shape, or else fitted ones.

    A tile of a frame shows more of the picture than a fitted one, in place of padding.
    """
    fitted = tile_grid(height, width, area_px, overlap_px, stride)
    if len(fitted) == 1:
        return fitted
    most = MOST_PADDING * computed_px(fitted, stride)
    framed = [
        grid for frame in frames
        if area(frame) <= area_px and min(frame) > overlap_px
        and computed_px(grid := even_grid(height, width, frame, overlap_px), stride, frames) <= most
    ]  # fmt: skip
    return min(framed, key=lambda grid: computed_px(grid, stride, frames), default=fitted)


def computed_px(tiles: Sequence[Tile], stride: int, frames: Sequence[Frame] = ()) -> int:
    """Returns the number of pixels that the network computes for tiles of one shape, with their padding."""
    return len(tiles) * area(padded_size(tiles[0].height, tiles[0].width, stride, frames))


def area(frame: Frame) -> int:
    """Returns the number of pixels."""
    return frame[0] * frame[1]
