"""Measures damage without the assessor, so that a surplus repair has another judge.

Each measure is a plain statistic of one kind of damage, which clean pictures may have, too.  It falls where a repair
left less damage than there was.

Shapes:  H W pixels.  Images are RGB (3, H, W), see models.pixels.  Levels are those of 8 bits, 0 to 255.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixels import floats
from models.safety.movement import luma

Measure = Callable[[Tensor], float]
LEAST = 0.005
"""A repair must lessen its measure by this share."""
NOISE_KERNEL = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
STREAK_PX, PATCH_PX = 9, 9
"""Streaks of rain are narrower; the dark channel's squares."""
LEAST_PX, LARGEST_PX = 32, 1536
"""Smaller images are not judged, and larger ones by a part from the middle."""


def noise(levels: Tensor) -> float:
    """Returns a robust estimate of the standard deviation of noise (Immerkaer 1996, with the median of Donoho)."""
    kernel = levels.new_tensor(NOISE_KERNEL)[None, None] / 6
    found = F.conv2d(levels[:, None], kernel).abs()
    return float(found.flatten().median()) / 0.6745


def blockiness(levels: Tensor) -> float:
    """Returns how much larger steps are at the borders of JPEG's 8 x 8 blocks than within, in levels; best of 8."""
    gray = luma(levels)
    found = 0.0
    for image in (gray, gray.T):
        steps = (image[:, 1:] - image[:, :-1]).abs().mean(0)
        if len(steps) < 16:
            continue
        at = torch.stack([steps[offset::8].mean() for offset in range(8)])
        found += float(at.max() - at.median())
    return found


def thin_bright(levels: Tensor) -> float:
    """Returns the mean height of bright structures that are thin: the difference from the morphological opening."""
    gray = luma(levels)[None, None]
    eroded = -_dilated(-gray, STREAK_PX)
    return float((gray - torch.minimum(_dilated(eroded, STREAK_PX), gray)).mean())


def veil(levels: Tensor) -> float:
    """Returns the mean dark channel (He et al. 2009), in levels: haze lifts it."""
    return float((-_dilated(-levels.amin(0)[None, None], PATCH_PX)).mean())


def darkness(levels: Tensor) -> float:
    """Returns how far the mean is below white."""
    return 255.0 - float(luma(levels).mean())


def softness(levels: Tensor) -> float:
    """Returns how little of the contrast of blocks is in fine details: blur and low resolution, 0 to 1."""
    gray = luma(levels)
    fine = gray[1:, 1:] - gray[:-1, :-1]
    return 1 - min(1.0, float(fine.abs().mean()) / (float(gray.std(correction=0)) + 1))


MEASURES: Mapping[str, Measure] = {
    "noise": noise, "jpeg": blockiness, "rain": thin_bright, "haze": veil, "low-light": darkness, "blur": softness,
    "low-resolution": softness,
}  # fmt: skip
"""Raindrops and snow have none: a statistic that falls from the damaged photo to the true one was not found."""
PRESENT = {"haze": 50.0, "low-light": 175.0}
"""The least measure of a damaged picture.  Drawn on held-out photographs, haze begins at 58 and low light at 187."""


def lessened(label: str, before: Tensor, after: Tensor) -> bool:
    """Returns whether there was damage and a repair left less of it; both (3, H, W), and true without a measure."""
    measure = MEASURES.get(label)
    if measure is None or min(before.shape[-2:]) < LEAST_PX:
        return True
    found = measure(_levels(before))
    return found >= PRESENT.get(label, 0.0) and measure(_levels(after)) < found * (1 - LEAST)


def _levels(image: Tensor) -> Tensor:
    """Returns the image, or a part from its middle, (3, h, w) float32 in levels."""
    top, left = (max(0, (side - LARGEST_PX) // 2) for side in image.shape[-2:])
    part = image[:, top : top + LARGEST_PX, left : left + LARGEST_PX]
    return floats(part).add(1).mul(127.5)


def _dilated(image: Tensor, side: int) -> Tensor:
    """Returns the maximum over squares of an odd side, (1, 1, H, W)."""
    half = side // 2
    rows = F.max_pool2d(image, (side, 1), 1, (half, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, half))
