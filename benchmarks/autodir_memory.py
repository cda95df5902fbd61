"""How much memory a bundle of the autodir family needs at its peak, by size of the picture, with one step.

Each row is a fresh process, so the peak is that process's own, weights and libraries included; on CUDA it is what torch
took of the device.  Beside it the size of one attention score tensor of the published code, which holds every score of
three branches and eight heads in half precision (4.1 GB at 768 x 768); it needs that several times over.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import torch

from models.drive import Progress, restore_one
from models.families import load_restorer
from models.restorer import Controls, Request

SIZES = ((512, 512), (768, 768), (1024, 1024), (2448, 3264))


def score_tensor_gb(height: int, width: int) -> float:
    """Three branches, eight heads, one score for each pair of latent pixels, two bytes each."""
    return 3 * 8 * (height * width / 64) ** 2 * 2 / 1e9


def peak(bundle: Path, device: torch.device, height: int, width: int) -> tuple[int, float]:
    """Tiles that the picture was cut into, and this process's peak in MiB."""
    model, counts = load_restorer(bundle, device), {1}
    image = torch.rand(3, height, width) * 2 - 1

    def saw(at: Progress) -> None:
        counts.add(at.tiles)

    restore_one(model, Request(image=image, controls=Controls(prompt="remove the haze", steps=1)), saw)
    if device.type == "cuda":
        return max(counts), torch.cuda.max_memory_allocated(device) / 2**20
    return max(counts), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts kibibytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=int, nargs=2, help="height and width: this one only, in this process")
    arguments = parser.parse_args()
    if arguments.picture:
        print(*peak(arguments.bundle, torch.device(arguments.device), *arguments.picture))
        return
    print(f"# {platform.machine()} · {os.cpu_count()} cores · torch {torch.__version__} · {arguments.bundle.name}\n")
    print("| picture | tiles | peak MiB | published: one score tensor, GB |\n|---|---|---|---|")
    for height, width in SIZES:
        words = [sys.executable, __file__, str(arguments.bundle), "--device", arguments.device]
        child = subprocess.run([*words, "--picture", str(height), str(width)], check=True, stdout=subprocess.PIPE)
        tiles, mib = child.stdout.split()
        print(
            f"| {height} x {width} | {int(tiles)} | {float(mib):.0f} | {score_tensor_gb(height, width):,.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
