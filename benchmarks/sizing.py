"""How many photos one processor core restores in an hour, by size: file to file, automatic mode, one thread.

Seconds are CPU seconds of this process, so that other programs count little.  The photos are copies of the noisy
sample, so a pass removes noise and the assessor looks twice.  A clean photo costs the first look alone, in its own
column.

Example: python benchmarks/sizing.py --megapixels 0.25 1 6
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from conditions import CPU, Timer, header, make_parser
from sizes import make_photo

from models.bundle import find_bundle
from models.controls import Controls
from models.device import Speed
from models.drive import restore_one
from models.families import load_restorer
from models.photo.read import Limits, read_photo
from models.photo.write import encode_photo
from models.pixels import to_pixels, to_tensor
from models.restorer import Request, Restorer


def file_to_file(restorer: Restorer, path: Path) -> tuple[float, float]:
    """Returns the CPU seconds of a restoration, and those of a first look."""
    with Timer() as whole:
        photo = read_photo(path.read_bytes(), Limits(pixels=10**8))
        image = to_tensor(photo.pixels)
        result = restore_one(restorer, Request(image=image, controls=Controls(seed=0))).image
        encode_photo(replace(photo, pixels=to_pixels(result)))
    with Timer() as look:
        restorer.assess([image])
    return whole.cpu_s, look.cpu_s


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 6], help="photo sizes")
    parser.add_argument("--bundles", nargs="+", default=["autodir-small", "daclip-small"], help="bundles")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(header("sizing: CPU seconds, one thread"))
    print("\n| bundle | megapixels | s a photo | photos an hour and core | s of a first look |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.bundles:
            restorer = load_restorer(find_bundle(name), CPU, Speed.of(CPU, False))
            file_to_file(restorer, make_photo(0.05, Path(folder)))  # the first calls are slower
            for megapixels in arguments.megapixels:
                photo_s, look_s = file_to_file(restorer, make_photo(megapixels, Path(folder)))
                row = f"| {name} | {megapixels:g} | {photo_s:.1f} | {3600 / photo_s:.0f} | {look_s:.2f} |"
                print(row, flush=True)


if __name__ == "__main__":
    main()
