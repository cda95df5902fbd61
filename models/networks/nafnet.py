"""NAFNet, AutoDIR's structural-correction module (Chen et al. 2022, arXiv:2204.04676).

Shapes:  B batch, C channels, H W pixels (any size, zero-padded inside and cropped back).  Images are RGB in [-1, 1].
Key names are those of the published checkpoints (prefix `NAFNet.`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.encoder_decoder import down_and_up, fold, unfold
from models.pixels import pad_to_multiple


@dataclass(frozen=True, kw_only=True)
class NAFNetConfig:
    """Defaults are the published SCM.

    `patch` > 1 folds patch x patch pixels into channels first (1 is the published network).  The field of view stays
    the same at a fraction of the work, which makes the small network fast on a CPU.
    """

    width: int = 64
    encoder_blocks: tuple[int, ...] = (2, 2, 4, 8)
    middle_blocks: int = 12
    decoder_blocks: tuple[int, ...] = (2, 2, 2, 2)
    patch: int = 1

    @property
    def stride(self) -> int:
        return int(self.patch * 2 ** len(self.encoder_blocks))


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (B, C, H, W), eps 1e-6."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        last = x.permute(0, 2, 3, 1)  # with channels_last this is a view of contiguous memory
        normed: Tensor = F.layer_norm(last, last.shape[-1:], self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)
        return normed


def simple_gate(x: Tensor) -> Tensor:
    """SimpleGate: the product of the two halves of the channels, (B, 2 C, H, W) -> (B, C, H, W)."""
    a, b = x.chunk(2, dim=1)
    return a * b


class NAFBlock(nn.Module):
    """Depthwise convolution with channel attention, then a gated 1x1 pair; both residual, zero-initialized."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        double = 2 * channels
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, double, 1)
        self.conv2 = nn.Conv2d(double, double, 3, padding=1, groups=double)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.conv4 = nn.Conv2d(channels, double, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(y * self.sca(y))
        x = x + self.gamma * self.conv5(simple_gate(self.conv4(self.norm2(x))))
        return x


def _level(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(blocks)))


class NAFNet(nn.Module):
    """Corrects the diffusion model's picture with the help of the degraded picture."""

    PIXEL_LAYERS = ("intro", "ending")

    def __init__(self, config: NAFNetConfig) -> None:
        super().__init__()
        self.config = config
        area, width = config.patch**2, config.width
        self.intro = nn.Conv2d(6 * area, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3 * area, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        for blocks in config.encoder_blocks:
            self.encoders.append(_level(width, blocks))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, stride=2))
            width *= 2
        self.middle_blks = _level(width, config.middle_blocks)
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for blocks in config.decoder_blocks:
            self.ups.append(nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)))
            width //= 2
            self.decoders.append(_level(width, blocks))

    def correction(self, degraded: Tensor, diffused: Tensor) -> Tensor:
        """Returns the correction to add to `diffused`: 2 x (B, 3, H, W) -> (B, 3, H, W)."""
        height, width = degraded.shape[-2:]
        x = pad_to_multiple(torch.cat([degraded, diffused], dim=1), self.config.stride)  # (B, 6, H', W')
        x = self.intro(fold(x, self.config.patch).contiguous(memory_format=torch.channels_last))
        x = self.ending(down_and_up(x, self.encoders, self.downs, self.middle_blks, self.ups, self.decoders))
        return unfold(x, self.config.patch)[..., :height, :width]

    def forward(self, degraded: Tensor, diffused: Tensor, fidelity: float | Tensor = 1.0) -> Tensor:
        """I_res = w * net(I, I_sd) + I_sd.  `fidelity` is w: a number, or (B, 1, 1, 1) with one value an image.

        The network computes in the precision of its weights; the sum is in that of `diffused`.
        """
        dtype = self.intro.weight.dtype
        correction = self.correction(degraded.to(dtype), diffused.to(dtype)).to(diffused.dtype)
        return diffused + fidelity * correction
