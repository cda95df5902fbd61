"""Measure the peak memory of an AutoDIR bundle for one denoising step, by photo size.

Each row is a new process, so the peak includes weights and libraries.  On CUDA it is the memory that torch allocated on
the device.  The last column is the size of one attention score tensor of the published program (three branches, eight
heads, half precision), which holds several of them.

Example: python benchmarks/autodir_memory.py models/bundles/autodir-small
"""

import subprocess
import sys
from pathlib import Path

import torch
from conditions import header, make_parser, peak_mib

from models.controls import Controls
from models.drive import Progress, restore_one
from models.families import load_restorer
from models.restorer import Request

SIZES = ((512, 512), (768, 768), (1024, 1024), (2448, 3264))


def score_tensor_gb(height: int, width: int) -> float:
    """Returns the size of the scores: three branches, eight heads, all pairs of latent pixels, two bytes each."""
    return 3 * 8 * (height * width / 64) ** 2 * 2 / 1e9


def measure(bundle: Path, device: torch.device, height: int, width: int) -> tuple[int, float]:
    """Returns the number of tiles and the peak of this process in MiB."""
    model, counts = load_restorer(bundle, device), {1}
    image = torch.rand(3, height, width) * 2 - 1

    def record(progress: Progress) -> None:
        counts.add(progress.tiles)

    restore_one(model, Request(image=image, controls=Controls(prompt="remove the haze", steps=1)), record)
    return max(counts), peak_mib(device)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("bundle", type=Path, help="folder of an AutoDIR bundle")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photo", type=int, nargs=2, help="height and width: measure only this size, in this process")
    arguments = parser.parse_args()
    if arguments.photo:
        print(*measure(arguments.bundle, torch.device(arguments.device), *arguments.photo))
        return
    print(header(arguments.bundle.name), end="\n\n")
    print("| photo | tiles | peak MiB | one published score tensor, GB |\n|---|---|---|---|")
    for height, width in SIZES:
        words = [sys.executable, __file__, str(arguments.bundle), "--device", arguments.device]
        child = subprocess.run([*words, "--photo", str(height), str(width)], check=True, stdout=subprocess.PIPE)
        tiles, mib = child.stdout.split()
        print(
            f"| {height} x {width} | {int(tiles)} | {float(mib):.0f} | {score_tensor_gb(height, width):,.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
