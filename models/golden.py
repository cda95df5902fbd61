"""The golden image: does this bundle on this device still answer as it did when it was made?

A worker asks before it takes work.  A broken driver, a damaged kernel cache or a poisoned CUDA context often answers
with garbage and no error.  The picture is mathematics and noise of a known seed, so nothing has to be shipped but the
answer, which `bundle.json` names and hashes.

Shapes:  96 x 96 px.  Images are RGB (3, H, W) in [-1, 1], pixels (H, W, 3) uint8.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.bundle import Manifest, write_golden
from models.drive import restore_one
from models.errors import DeviceError
from models.noise import NoiseStream
from models.pixels import to_pixels
from models.restorer import Controls, Request, Restorer

SIDE_PX = 96
KEY = "restored"
LEAST_PSNR_DB = 32.0
"""Half precision and another device's rounding stay above 40; garbage is below 20."""


def picture() -> Tensor:
    """Rings over a gradient, with noise."""
    axis = torch.linspace(-1, 1, SIDE_PX)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    rings = torch.cos(12 * torch.hypot(x, y))
    scene = torch.stack([0.5 * rings + 0.3 * x, 0.5 * rings + 0.3 * y, -0.5 * rings])
    return (scene + 0.15 * NoiseStream(7).draw((3, SIDE_PX, SIDE_PX))).clamp(-1, 1)


def answer(restorer: Restorer) -> Tensor:
    """What it makes of the picture: (96, 96, 3) uint8."""
    controls = Controls(prompt="remove the noise", steps=2, seed=7)
    restored = restore_one(restorer, Request(image=picture(), controls=controls)).image
    if not bool(torch.isfinite(restored).all()):
        raise DeviceError("the golden image came back with values that are no numbers. Do not use this device.")
    return torch.from_numpy(to_pixels(restored))


def record(restorer: Restorer, bundle: Path, manifest: Manifest) -> Manifest:
    """Store today's answer with the bundle."""
    return write_golden(bundle, manifest, {KEY: answer(restorer)})


def check(restorer: Restorer, bundle: Path, manifest: Manifest) -> float | None:
    """The PSNR in dB to the stored answer; None where the bundle has none (then it must at least be no constant).

    Raises:
        DeviceError: it is another picture.
    """
    found = answer(restorer)
    if manifest.golden is None:
        if float(found.float().std()) < 1:
            raise DeviceError("the golden image came back blank. Do not use this device.")
        return None
    expected = load_file(bundle / manifest.golden)[KEY]
    error = (found.double() - expected.double()).square().mean().clamp_min(1e-6)
    score = float(10 * torch.log10(255**2 / error))
    if score < LEAST_PSNR_DB:
        raise DeviceError(
            f"the golden image came back {score:.1f} dB from what this bundle once made of it, expected "
            f"{LEAST_PSNR_DB:.0f}. Do not use this device, or verify the bundle."
        )
    return score
