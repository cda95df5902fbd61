"""Measure whether the tiles of a large dark photo agree: drift of local brightness, and grids.

Each photo is darkened (exposure, and the noise of a dark shot), enlarged to `--megapixels`, and restored in the
bundle's tiles with the prompt of low light.  The reference is a copy of at most 512 px a side, restored at once.  A
synthetic wall with a gradient and noise comes first.  The goals: a drift of at most 3 levels of 255, and a growth of
the spectral peak of at most 3 (docs/evaluation.md).

Example: python benchmarks/tile_brightness.py ../shared/train/clic2025_0022.jpg --megapixels 12
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from conditions import CPU, Timer, header, make_parser
from numpy.typing import NDArray
from PIL import Image

from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.drive import restore_one
from models.evaluation.pairs import Picture, read_picture
from models.evaluation.spectrum import compare_peaks
from models.evaluation.tile_agreement import brightness_drift
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.restorer import Request, Restorer
from models.vocabulary import degradation

SMALL_PX = 512
EXPOSURE, NOISE_LEVELS = 0.1, 0.8


def wall(height: int, width: int) -> Picture:
    """Returns a dark wall: a smooth gradient from 22 to 7 levels, with noise."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    share = np.clip(0.75 * y + 0.25 * x + 0.1 * np.sin(3 * x + 2 * y), 0, 1)[..., None]
    return _noisy(np.float32([22, 18, 15]) * (1 - share) + np.float32([8, 7, 6]) * share)


def darkened(photo: Picture, height: int, width: int) -> Picture:
    """Returns a photo of this size, taken with a tenth of the light."""
    sized = Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC)
    return _noisy(np.asarray(sized, np.float32) * EXPOSURE)


def _noisy(levels: NDArray[np.float32]) -> Picture:
    noise = np.random.default_rng(0).standard_normal(levels.shape, np.float32) * NOISE_LEVELS
    return np.clip(levels + noise, 0, 255).round().astype(np.uint8)


def restored(restorer: Restorer, picture: Picture, tile_px: int | None) -> Picture:
    controls = Controls(prompt=degradation("low-light").prompt)
    result = restore_one(restorer, Request(image=to_tensor(picture), tile_px=tile_px, controls=controls))
    return to_pixels(result.image).astype(np.uint8, copy=False)


def pictures(photos: Sequence[Path], megapixels: float) -> Iterator[tuple[str, Picture]]:
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    yield "dark wall", wall(height, round(height * 4 / 3))
    for path in photos:
        photo = read_picture(path)
        scale = (megapixels * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
        yield path.name, darkened(photo, round(photo.shape[0] * scale), round(photo.shape[1] * scale))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("photos", type=Path, nargs="*", help="well-lit photos")
    parser.add_argument("--bundle", help="name or folder of a bundle; the shipped one by default")
    parser.add_argument("--megapixels", type=float, default=12.0, help="size of the dark photos (12)")
    parser.add_argument("--tile", type=int, metavar="PX", help="side of the tiles; default: the bundle's")
    arguments = parser.parse_args()
    if not 0.1 <= arguments.megapixels <= 100:
        parser.error(f"--megapixels: got {arguments.megapixels:g}, expected 0.1 to 100")
    bundle = find_bundle(arguments.bundle)
    manifest, restorer = read_manifest(bundle), load_restorer(bundle, CPU)
    print(header(f"{manifest.name} {manifest.version}", f"{arguments.megapixels:g} MP"), end="\n\n")
    print("| photo | drift, levels | peak before | peak after | growth | seconds |\n|---|---|---|---|---|---|")
    for name, dark in pictures(arguments.photos, arguments.megapixels):
        with Timer() as timer:
            result = restored(restorer, dark, arguments.tile)
        small = Image.fromarray(dark)
        small.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.BOX)
        drift = brightness_drift(result, restored(restorer, np.asarray(small), None))
        peaks = compare_peaks(dark, result)
        print(
            f"| {name} | {drift:.1f} | {peaks.before:.1f} | {peaks.after:.1f} | {peaks.growth:.1f} "
            f"| {timer.seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
