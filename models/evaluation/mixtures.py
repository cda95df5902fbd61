"""Adds synthetic damage to a clean picture: one kind, or a mixture of several in the order of physics.

The damage is that of the training (models.training.data.degradations), so it measures whether a bundle keeps what it
learned, not how well it does on photographs.  It needs OpenCV, which `pip install 'undegrade[training]'` brings.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8.
"""

from collections.abc import Sequence

import numpy as np

from models.errors import ControlsError
from models.evaluation.pairs import Picture

MIXTURES: tuple[tuple[str, str], ...] = (
    ("rain", "noise"), ("haze", "noise"), ("low-light", "noise"), ("rain", "jpeg"), ("low-light", "jpeg"),
    ("noise", "jpeg"), ("haze", "jpeg"), ("rain", "haze"), ("snow", "noise"), ("snow", "jpeg"),
)  # fmt: skip
"""Ten pairs of kinds that occur together, by vocabulary names."""


def synthetic_kinds() -> tuple[str, ...]:
    """Returns the kinds of damage that `damaged` can add, in the order in which they arise.

    Raises:
        ControlsError: OpenCV is not installed.
    """
    try:
        from models.training.data.degradations import PHYSICAL_ORDER
    except ImportError as error:
        raise ControlsError(
            f"synthetic damage needs OpenCV, which is missing ({error}); pip install 'undegrade[training]'"
        ) from error
    return PHYSICAL_ORDER


def damaged(clean: Picture, kinds: Sequence[str], rng: np.random.Generator) -> Picture:
    """Returns a picture with every one of these kinds of damage, whatever their order in `kinds`.

    Raises:
        ControlsError: OpenCV is not installed.
    """
    order = sorted(kinds, key=synthetic_kinds().index)
    from models.training.data.degradations import SYNTHESIZERS

    picture = clean.astype(np.float32) / np.float32(255)
    for kind in order:
        picture = SYNTHESIZERS[kind](picture, rng)
    return np.asarray((np.clip(picture, 0, 1) * 255).round(), np.uint8)
