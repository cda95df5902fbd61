"""Batch normalization over the whole batch, where several processes have a part of it each.

torch.nn.SyncBatchNorm does the same on CUDA alone.  Only normalization of feature maps is replaced: vectors, such as
the evidence of the assessor, are normalized after they are gathered, so every process already sees all of them.

Shapes:  B pictures, C channels, H W pixels.
"""

import torch
from torch import Tensor, nn

from models.training.data.share import ALONE, Share


class SharedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose mean and variance in training are those of the pictures of all processes."""

    share: Share = ALONE

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        count = self.share.total(x.new_tensor(float(x.numel() // x.shape[1])))
        mean = self.share.total(x.sum(dim=(0, 2, 3))) / count
        centered = x - mean[:, None, None]
        variance = self.share.total(centered.square().sum(dim=(0, 2, 3))) / count
        self._update(mean.detach(), (variance * count / (count - 1).clamp_min(1)).detach())
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def share_statistics(network: nn.Module, share: Share) -> None:
    """Let every nn.BatchNorm2d of the network use the statistics of all processes, in place."""
    if share.count == 1:
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # keeps parameters, buffers, and their names
            module.__dict__["share"] = share
