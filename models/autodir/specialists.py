"""Specialists: networks that each repair a few degradations in one step, in place of diffusion and correction.

They are not part of the paper, and the strict loop ignores them.  A bundle without specialists is the published system.

Shapes:  B tracks, H W pixels.  Images are RGB float32 (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.networks.drunet import DRUNet, DRUNetConfig


@dataclass(frozen=True, kw_only=True)
class SpecialistConfig:
    """The degradations that a specialist repairs, and its network.

    `mirrored` averages the results of the image and of its mirror image: a self-ensemble of two, at twice the work.
    (Lim et al. 2017, arXiv:1707.02921, use eight, but no network has learned rain that falls sideways.)
    """

    names: tuple[str, ...]
    network: DRUNetConfig = field(default_factory=DRUNetConfig)
    mirrored: bool = False


class Specialists:
    """The specialists of a bundle, resident on a device; keys are the bundle's names for them."""

    def __init__(self, configs: Mapping[str, SpecialistConfig], networks: Mapping[str, DRUNet]) -> None:
        self.networks = dict(networks)
        self._mirrored = {key: config.mirrored for key, config in configs.items()}
        self._by_degradation = {name: key for key, config in configs.items() for name in config.names}

    def key_of(self, degradation: str) -> str | None:
        """Returns the key of the specialist that repairs it; None if diffusion and correction do."""
        return self._by_degradation.get(degradation)

    def stride(self, key: str) -> int:
        """Returns the number whose multiples the sides of tiles are padded to."""
        return self.networks[key].config.stride

    def restore(self, key: str, degraded: Tensor) -> Tensor:
        """Repair a batch: (B, 3, H, W) -> (B, 3, H, W) in [-1, 1]."""
        network = self.networks[key]
        restored: Tensor = network(degraded)
        if self._mirrored[key]:  # a second call instead of a larger batch, to save memory
            restored = torch.lerp(restored, network(degraded.flip(-1)).flip(-1), 0.5)
        return restored.clamp(-1, 1)
