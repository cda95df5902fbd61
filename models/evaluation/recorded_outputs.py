"""Compares networks of a bundle with outputs that were recorded from the published graphs of the same weights.

A file maxim-KEY.safetensors holds pairs of input_* (H, W, 3) uint8 and output_* (H, W, 3) float32, where KEY is the
bundle's name of the network.  Outputs are about [0, 1] and not clamped; PSNR is of values clamped to [0, 1].
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.errors import BundleError
from models.psnr import psnr

PREFIX = "maxim-"
SAME_DB = 50.0
"""MAXIM's weights in float16 give 74 to 83 dB, those of another task 9 to 19 dB (2026-11-27, on a CPU)."""


Restore = Callable[[str, Tensor], Tensor]
"""(KEY, (B, 3, H, W) in [-1, 1]) -> the same shape and range."""


def vector_files(folder: Path) -> list[Path]:
    """Returns the files with recorded outputs in a folder."""
    return sorted(folder.glob(f"{PREFIX}*.safetensors"))


def compare_outputs(keys: Collection[str], restore: Restore, folder: Path) -> Iterator[tuple[str, float]]:
    """Yields KEY and input of each recorded output of the bundle's networks, and the PSNR to it in dB.

    Raises:
        BundleError: a file cannot be read.
    """
    for path in vector_files(folder):
        key = path.stem.removeprefix(PREFIX)
        if key not in keys:
            continue
        try:
            vectors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise BundleError(f"cannot read {path}: {error}. Copy the file again.") from error
        for name in sorted(name for name in vectors if name.startswith("input_")):
            degraded = vectors[name].permute(2, 0, 1)[None].float() / 127.5 - 1
            with torch.inference_mode():
                restored = restore(key, degraded)[0].permute(1, 2, 0).cpu()
            expected = vectors[name.replace("input_", "output_")].clamp(0, 1)
            yield f"{key} {name}", psnr((restored + 1) / 2, expected, peak=1.0)
