"""An image tower of plain convolutions: several DRUNet encoders side by side, and what each of their levels sums up to.

Not of the paper, whose tower is a ViT that has seen the internet.  A small tower learns from labels alone, a few bits a
picture; an encoder that has learned to restore has been told every pixel, and knows damage already
(docs/decisions/0015).

Shapes:  B views of S x S pixels, F pooled features, E joint width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.drunet import DRUNetConfig, DRUNetEncoder

GRID = 8
"""Levels are looked at in GRID x GRID blocks for their extremes: a drop is in one place."""
COMPRESSION = 4.0


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """The encoders, and the width between what is pooled and the joint space."""

    branches: tuple[DRUNetConfig, ...]
    hidden: int = 256


class BranchTower(nn.Module):
    """CLIP's `visual`.  Views come normalised by a mean and a standard deviation of 0.5, so in [-1, 1]."""

    def __init__(self, config: TowerConfig, embed_dim: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(DRUNetEncoder(branch) for branch in config.branches)
        self.FACING = tuple(f"branches.{index}.head" for index in range(len(config.branches)))
        pooled = 4 * sum(branch.width * (2 ** len(branch.blocks) - 1) for branch in config.branches)
        self.norm = nn.BatchNorm1d(pooled)
        self.hidden = nn.Linear(pooled, config.hidden)
        self.project = nn.Linear(config.hidden, embed_dim)

    def forward(self, views: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, E)."""
        pooled = torch.cat([pool(level) for branch in self.branches for level in branch.features(views)], dim=1)  # type: ignore[operator]
        # levels differ by orders of magnitude, as noise of sigma 3 and 50 do
        x = self.norm(torch.asinh(COMPRESSION * pooled))
        return self.project(F.gelu(self.hidden(x)))  # type: ignore[no-any-return]


def pool(level: Tensor) -> Tensor:
    """Mean, standard deviation, and the largest and smallest mean of a block: (B, C, H, W) -> (B, 4 C) float32."""
    x = level.float()
    blocks = F.avg_pool2d(x, max(1, min(x.shape[-2:]) // GRID))
    mean = x.mean(dim=(2, 3))
    # the root has no slope at 0, where a channel is silent
    spread = (x.square().mean(dim=(2, 3)) - mean.square()).clamp_min(1e-8).sqrt()
    return torch.cat([mean, spread, blocks.amax(dim=(2, 3)), blocks.amin(dim=(2, 3))], dim=1)
