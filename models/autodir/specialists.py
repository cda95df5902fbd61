"""Specialists: networks that repair a few degradations each in one step, in place of diffusion and correction.

Not of the paper, and the strict loop passes over them.  A bundle without any is the published one.

Shapes:  B tracks, H W pixels.  Images are RGB float32 (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.networks.drunet import DRUNet, DRUNetConfig


@dataclass(frozen=True, kw_only=True)
class SpecialistConfig:
    """The degradations it repairs, and its network.

    `mirrored` takes the mean with what it makes of the picture's mirror image: a self-ensemble of two, at twice the
    work.  (Lim et al. 2017, arXiv:1707.02921, have eight, but rain that falls sideways is not what a network learned.)
    """

    names: tuple[str, ...]
    network: DRUNetConfig = field(default_factory=DRUNetConfig)
    mirrored: bool = False


class Specialists:
    """Those of a bundle, resident on a device; keys are the bundle's names for them."""

    def __init__(self, configs: Mapping[str, SpecialistConfig], networks: Mapping[str, DRUNet]) -> None:
        self.networks = dict(networks)
        self._mirrored = {key: config.mirrored for key, config in configs.items()}
        self._of = {name: key for key, config in configs.items() for name in config.names}

    def of(self, degradation: str) -> str | None:
        """Which one repairs it; None where diffusion and correction do."""
        return self._of.get(degradation)

    def stride(self, key: str) -> int:
        """Tiles are padded to a multiple of it."""
        return self.networks[key].config.stride

    def restore(self, key: str, degraded: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W) in [-1, 1]."""
        network = self.networks[key]
        restored: Tensor = network(degraded)
        if self._mirrored[key]:  # one after the other, so that it takes no more memory
            restored = torch.lerp(restored, network(degraded.flip(-1)).flip(-1), 0.5)
        return restored.clamp(-1, 1)
