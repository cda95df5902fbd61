"""The golden image: proves that a bundle gives the recorded result on this device.

A worker checks it before it takes jobs.  A broken driver, a damaged kernel cache or a poisoned CUDA context often
returns garbage without an error.  The input is computed from formulas and seeded noise, so only the recorded result is
stored; `bundle.json` holds its name and hash.

Shapes:  96 x 96 px.  Images are RGB (3, H, W) in [-1, 1], pixels (H, W, 3) uint8.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.bundle import Manifest, write_golden
from models.controls import Controls
from models.drive import restore_one
from models.errors import DeviceError
from models.noise import NoiseStream
from models.pixels import to_pixels
from models.psnr import psnr
from models.restorer import Request, Restorer

SIDE_PX = 96
RESTORED = "restored"
MIN_PSNR_DB = 32.0
"""Half precision and the rounding of another device stay above 40; garbage is below 20."""


def golden_image() -> Tensor:
    """Returns the input (3, 96, 96): rings over a gradient, with noise."""
    axis = torch.linspace(-1, 1, SIDE_PX)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    rings = torch.cos(12 * torch.hypot(x, y))
    scene = torch.stack([0.5 * rings + 0.3 * x, 0.5 * rings + 0.3 * y, -0.5 * rings])
    return (scene + 0.15 * NoiseStream(7).draw((3, SIDE_PX, SIDE_PX))).clamp(-1, 1)


def restore_golden(restorer: Restorer) -> Tensor:
    """Returns the restored golden image, (96, 96, 3) uint8.

    Raises:
        DeviceError: the result contains NaN or infinite values.
    """
    controls = Controls(prompt="remove the noise", best_effort=True, steps=2, seed=7)
    restored = restore_one(restorer, Request(image=golden_image(), controls=controls)).image
    if not bool(torch.isfinite(restored).all()):
        raise DeviceError("the golden image contains NaN or infinite values. Do not use this device.")
    return torch.from_numpy(to_pixels(restored))


def record(restorer: Restorer, bundle: Path, manifest: Manifest) -> Manifest:
    """Store the current result with the bundle; returns the manifest that names it."""
    return write_golden(bundle, manifest, {RESTORED: restore_golden(restorer)})


def check(restorer: Restorer, bundle: Path, manifest: Manifest) -> float | None:
    """Returns the PSNR in dB to the recorded result; None if the bundle has none (then it must not be blank).

    Raises:
        DeviceError: the result differs too much from the recorded result, or is blank.
    """
    found = restore_golden(restorer)
    if manifest.golden is None:
        if float(found.float().std()) < 1:
            raise DeviceError("the golden image is blank. Do not use this device.")
        return None
    score_db = psnr(found, load_file(bundle / manifest.golden)[RESTORED])
    if score_db < MIN_PSNR_DB:
        raise DeviceError(
            f"the golden image has a PSNR of {score_db:.1f} dB to the recorded result, expected at least "
            f"{MIN_PSNR_DB:.0f}. Do not use this device, or verify the bundle."
        )
    return score_db
