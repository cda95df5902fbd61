"""Choose the frames of models/frames.py from real photo sizes, and print what they cost.

Frames are added one by one: each time the one that saves most over all photos, where a photo without a frame costs 1.3
times its pixels, because it runs without a graph.  The published size, 512 x 512, is always one.

Example: python benchmarks/frames.py benchmarks/photo_sizes.tsv --count 24
"""

import csv
from pathlib import Path

from conditions import make_parser

from models.frames import MOST_PADDING, Frame, area, computed_px, framed_grid
from models.tiles import Tile

NATIVE_PX, OVERLAP_PX, STRIDE = 1024 * 1024, 96, 64
SIDES = range(256, 1537, STRIDE)
WITHOUT_GRAPH = 1.3
PUBLISHED: Frame = (512, 512)


def computed(size: Frame, frames: tuple[Frame, ...]) -> tuple[int, bool]:
    """Returns the pixels that a photo of this height and width computes, and whether in a frame."""
    tiles: list[Tile] = framed_grid(*size, NATIVE_PX, OVERLAP_PX, STRIDE, frames)
    framed, fitted = computed_px(tiles, STRIDE, frames), computed_px(tiles, STRIDE)
    inside = framed != fitted or (tiles[0].height, tiles[0].width) in frames or _own(tiles[0]) in frames
    return framed, inside


def _own(tile: Tile) -> Frame:
    return tile.height + -tile.height % STRIDE, tile.width + -tile.width % STRIDE


def choose(sizes: list[Frame], count: int) -> list[Frame]:
    """Returns the frames, in the order in which they were chosen."""
    without = [WITHOUT_GRAPH * computed(size, ())[0] for size in sizes]
    candidates = [(tall, wide) for tall in SIDES for wide in SIDES if tall * wide <= NATIVE_PX]
    costs = {}
    for frame in candidates:
        found = [computed(size, (frame,)) for size in sizes]
        costs[frame] = [float(px) if inside else cost for (px, inside), cost in zip(found, without, strict=True)]
    chosen, now = [PUBLISHED], [min(pair) for pair in zip(without, costs[PUBLISHED], strict=True)]
    while len(chosen) < count:
        best = min(candidates, key=lambda frame: sum(map(min, now, costs[frame])))
        if best in chosen:
            break
        chosen.append(best)
        now = list(map(min, now, costs[best]))
    return chosen


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("sizes", type=Path, help="table with the columns width and height; # begins a comment")
    parser.add_argument("--count", type=int, default=24, help="number of frames")
    arguments = parser.parse_args()
    lines = [line for line in arguments.sizes.read_text().splitlines() if not line.startswith("#")]
    sizes = [(int(row["height"]), int(row["width"])) for row in csv.DictReader(lines, delimiter="\t")]
    frames = tuple(choose(sizes, arguments.count))
    found = [computed(size, frames) for size in sizes]
    own = sum(computed(size, ())[0] for size in sizes)
    print(f"{len(sizes)} sizes, {len(frames)} frames, at most {MOST_PADDING:g} times the pixels each")
    print(f"in a frame: {sum(inside for _, inside in found) / len(sizes):.1%} of the photos")
    print(f"computed pixels: {sum(px for px, _ in found) / own - 1:.1%} more than with fitted tiles of any shape")
    print(f"FRAMES: tuple[Frame, ...] = {tuple(sorted(frames, key=area))}")


if __name__ == "__main__":
    main()
