"""Layers on features with the channels last, (B, H, W, C), where a layer over channels is a matrix product."""

from torch import Tensor, nn


class Convolution(nn.Conv2d):
    """torch's own on a view: (B, H, W, C) -> (B, H', W', C')."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
