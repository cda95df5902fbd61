"""Compare fitted tiles with square tiles of 768 px, as they were before, and with the whole picture where that fits.

Each photo is restored by one bundle and one prompt.  The table shows the tiles, the computed pixels as a share of the
picture's, seconds, peak memory, the distance to the whole picture in dB, and how much the seams show: the mean change
of brightness across the tiles' borders in flat parts of the picture, divided by that elsewhere in the flat parts (1: no
seam).  Each row of a photo is a new process.

Example: python benchmarks/tiles.py ../shared/eval/denoise --prompt noise --limit 4
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from conditions import Timer, header, make_parser
from torch import Tensor

import models.autodir.restorer
import models.daclip.restorer
from models.bundle import find_bundle
from models.controls import Controls
from models.device import Speed, choose_device
from models.drive import restore_one
from models.families import load_restorer
from models.frames import Frame, computed_px
from models.photo.read import Limits, read_photo
from models.pixels import to_tensor
from models.psnr import psnr
from models.restorer import Request
from models.tiles import Tile
from models.tracks import Tiling, cut_into_tiles

SQUARE_PX = 768
FLAT = 0.02
"""A pixel whose surroundings change by less, in a range of 2, lies in a flat part such as sky or a wall."""
KINDS = ("square", "fitted", "whole")
WHOLE_MP = 4.0
"""Larger pictures are not computed whole: the memory of attention grows with the square of the area."""


def square_tiles(image: Tensor, tiling: Tiling, stride: int, tile_px: int | None) -> tuple[list[Tile], int]:
    """Returns the tiles of before: the fewest squares of 768 px, evenly spread."""
    height, width = image.shape[-2:]
    side = max(height, width) if height * width <= tiling.native_px else SQUARE_PX
    overlap = min(tiling.overlap_px, side // 2)
    corners = [(top, left) for top in _starts(height, side, overlap) for left in _starts(width, side, overlap)]
    return [
        Tile(top, left, min(side, height), min(side, width), index, len(corners))
        for index, (top, left) in enumerate(corners)
    ], overlap


def _starts(length: int, side: int, overlap: int) -> list[int]:
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def whole(image: Tensor, tiling: Tiling, stride: int, tile_px: int | None) -> tuple[list[Tile], int]:
    """Returns one tile."""
    height, width = image.shape[-2:]
    return [Tile(0, 0, height, width, 0, 1)], 0


CUTS = {"square": square_tiles, "fitted": cut_into_tiles, "whole": whole}


def run_one(path: Path, kind: str, arguments: Any) -> dict[str, float]:  # noqa: ANN401 - argparse's namespace
    """Restore a photo with one kind of tiles.  The result is left beside `--out` for the parent."""
    asked: list[tuple[list[Tile], int]] = []

    def cut(
        image: Tensor, tiling: Tiling, stride: int, tile_px: int | None, frames: Sequence[Frame] = ()
    ) -> tuple[list[Tile], int]:
        asked.append((CUTS[kind](image, tiling, stride, tile_px)[0], stride))
        return CUTS[kind](image, tiling, stride, tile_px)

    for family in (models.autodir.restorer, models.daclip.restorer):
        family.cut_into_tiles = cut  # type: ignore[attr-defined]
    device = choose_device(arguments.device).device
    restorer = load_restorer(find_bundle(arguments.bundle), device, Speed.of(device, False))
    image = to_tensor(read_photo(path.read_bytes(), Limits(pixels=10**9)).pixels)
    controls = Controls(prompt=arguments.prompt, seed=0, steps=arguments.steps)
    restorer.assess([image[:, :64, :64]])
    with Timer(device) as timer:
        result = restore_one(restorer, Request(image=image, controls=controls)).image
    torch.save(result, arguments.out)
    tiles, stride = asked[0]
    return {
        "tiles": len(tiles), "height": tiles[0].height, "width": tiles[0].width,
        "computed": computed_px(tiles, stride) / (image.shape[-1] * image.shape[-2]), "seconds": timer.seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seams": seam_ratio(image, result, tiles),
    }  # fmt: skip


def seam_ratio(image: Tensor, result: Tensor, tiles: list[Tile]) -> float:
    """Returns the change of brightness across the borders of tiles, over the change elsewhere; flat parts only.

    NaN without borders or flat parts.
    """
    changes, borders = [], []
    for axis, starts, ends in (
        (1, {tile.top for tile in tiles}, {tile.top + tile.height for tile in tiles}),
        (2, {tile.left for tile in tiles}, {tile.left + tile.width for tile in tiles}),
    ):
        length = image.shape[axis]
        across = (
            (result - image).mean(0).diff(dim=axis - 1).abs()
        )  # what the restoration added, not the picture's edges
        flat = image.mean(0).diff(dim=axis - 1).abs() < FLAT
        at = torch.zeros(length - 1, dtype=torch.bool)
        at[[line - 1 for line in starts | ends if 0 < line < length]] = True
        shape = (-1, 1) if axis == 1 else (1, -1)
        on = at.view(shape).expand_as(flat)
        changes.append(across[flat & ~on])
        borders.append(across[flat & on])
    elsewhere, there = torch.cat(changes), torch.cat(borders)
    return float(there.mean() / elsewhere.mean()) if len(there) and len(elsewhere) else float("nan")


def photos(words: list[Path], limit: int) -> Iterator[Path]:
    """Yield the photos of files and folders, up to `limit`; the inputs of a folder of pairs."""
    found = [path for word in words for path in (sorted(word.rglob("*")) if word.is_dir() else [word])]
    pictures = [path for path in found if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp", ".tif"}]
    yield from pictures[:limit]


def measured(path: Path, kind: str, out: Path, arguments: Any) -> dict[str, float]:  # noqa: ANN401
    """Run `run_one` in a process of its own, for its peak of memory."""
    words = [sys.executable, __file__, str(path), "--kind", kind, "--out", str(out), "--prompt", arguments.prompt]
    words += ["--bundle", arguments.bundle, "--device", arguments.device]
    words += ["--steps", str(arguments.steps)] if arguments.steps else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("photos", type=Path, nargs="+", help="photos or folders")
    parser.add_argument("--bundle", default="autodir-small")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompt", default="noise", help="what to repair")
    parser.add_argument("--steps", type=int, help="denoising steps; default: the bundle's")
    parser.add_argument("--limit", type=int, default=100, help="most photos")
    parser.add_argument("--min-mp", type=float, default=1.05, help="leave out smaller photos")
    parser.add_argument("--out", type=Path, default=Path("/tmp/tiles.pt"), help="file for results between processes")
    parser.add_argument("--kind", choices=KINDS, help="for the processes that this program starts")
    arguments = parser.parse_args()
    if arguments.kind:
        print(json.dumps(run_one(arguments.photos[0], arguments.kind, arguments)))
        return
    print(header(f"tiles {arguments.bundle} --prompt {arguments.prompt}"))
    print("| photo | MP | tiles | count | side, px | computed | seconds | peak MiB | seams | PSNR to whole, dB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for path in photos(arguments.photos, arguments.limit):
        compare(path, arguments)


def compare(path: Path, arguments: Any) -> None:  # noqa: ANN401
    """Print the rows of one photo."""
    from PIL import Image

    with Image.open(path) as picture:
        megapixels = picture.width * picture.height / 1e6
    if megapixels < arguments.min_mp:
        return
    reference: Tensor | None = None
    for kind in ("whole", "square", "fitted") if megapixels <= WHOLE_MP else ("square", "fitted"):
        row = measured(path, kind, arguments.out, arguments)
        result = torch.load(arguments.out)
        distance = float("nan") if reference is None else psnr(result, reference, 2.0)
        reference = result if kind == "whole" else reference
        print(
            f"| {path.name} | {megapixels:.1f} | {kind} | {row['tiles']} | {row['height']}x{row['width']} "
            f"| {row['computed']:.2f} | {row['seconds']:.1f} | {row['peak_mib']:.0f} | {row['seams']:.2f} "
            f"| {distance:.1f} |", flush=True
        )  # fmt: skip


if __name__ == "__main__":
    main()
