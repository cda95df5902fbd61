"""The efficient U-Net of ETDiffIR: IR-SDE's U-Net with efficient residual blocks (ERB) instead of convolutions.

An ERB is a depthwise 7 x 7 convolution and a two-layer perceptron over channels with global response normalization
(Woo et al. 2023, arXiv:2301.00808), both residual.  There are two modes:

    published-code   as in the authors' code: the decoder's ERBs are built and stored, but never run
    paper            as in the paper: the decoder's ERBs run, one per level; caption and degradation are concatenated
                     before the prompt, which makes the prompt's input twice as wide

Parameter names are those of the published code.

Shapes:  B images, C channels, H W pixels, D context width.  Interfaces and ranges are those of `ConditionalUNet`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.daclip.conditional_unet import ConditionalUNet, ResBlock, UNetConfig

Mode = Literal["published-code", "paper"]


@dataclass(frozen=True, kw_only=True)
class EfficientUNetConfig:
    """Defaults are the authors' sizes: 45,244,035 stored parameters in published-code mode, 33,779,459 of them used."""

    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    context_dim: int = 512
    mode: Mode = "published-code"

    @property
    def unet(self) -> UNetConfig:
        """The configuration of the U-Net without its ERBs."""
        return UNetConfig(width=self.width, multipliers=self.multipliers, context_dim=self.context_dim)

    @property
    def prompt_dim(self) -> int:
        """Width of the fused condition, the prompt's input (see models.etdiffir.fusion)."""
        return 2 * self.context_dim if self.mode == "paper" else self.context_dim


class ResponseNorm(nn.Module):
    """Global response normalization, (B, H, W, C) -> (B, H, W, C): weights a channel by its share of the response.

    A new module is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        response = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)  # (B, 1, 1, C)
        share = response / (response.mean(dim=-1, keepdim=True) + 1e-6)
        return torch.addcmul(self.beta, x, self.gamma * share + 1)


class EfficientBlock(nn.Module):
    """The ERB: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (B, H, W, C) from here on
        convolved = F.gelu(self.dwconv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        x = x + self.norm(convolved)
        x = x + self.pwconv2(self.grn(F.gelu(self.pwconv1(x))))
        return x.permute(0, 3, 1, 2)


class EfficientConvolution(nn.Module):
    """Replaces a convolution, (B, inputs, H, W) -> (B, outputs, H, W): an ERB, optional modulation, then SiLU.

    Args:
        mixes: whether a 1 x 1 convolution precedes the ERB.
        runs: whether the ERB runs; otherwise it is only stored.
    """

    def __init__(self, inputs: int, outputs: int, *, mixes: bool = False, runs: bool = True) -> None:
        super().__init__()
        block = EfficientBlock(outputs)
        self.proj = nn.Sequential(nn.Conv2d(inputs, outputs, 1), block) if mixes else nn.Sequential(block)
        self.runs = runs

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return _modulated(self.proj(x) if self.runs else self.proj[0](x), scale, shift)


class MixingConvolution(nn.Module):
    """A 1 x 1 convolution, optional modulation, then SiLU: joins a skip connection in the paper's decoder."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return _modulated(self.proj(x), scale, shift)


def _modulated(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    return F.silu(x if scale is None or shift is None else torch.addcmul(shift, x, 1 + scale))


class EfficientUNet(ConditionalUNet):
    """Predicts the noise in a state.  `prepare` takes the token (B, D) and the fused condition (B, prompt_dim)."""

    def __init__(self, config: EfficientUNetConfig) -> None:
        super().__init__(config.unet, partial(_block, runs=config.mode == "paper"))
        self.efficient = config
        wide = self.config.embedding
        if config.mode == "paper":
            self.text_mlp[0] = nn.Linear(config.prompt_dim, wide)
            for level, narrow in zip(self.ups, reversed(self._widths()), strict=True):
                broad = level[1].block2.proj[0].out_channels  # type: ignore[index]
                level[0] = ResBlock(broad + narrow, broad, wide, MixingConvolution)  # type: ignore[operator]

    def _widths(self) -> list[int]:
        """The number of input channels of each level, from the top."""
        return [self.config.width * multiplier for multiplier in (1, *self.config.multipliers[:-1])]


def _block(inputs: int, outputs: int, embedding: int, *, runs: bool) -> ResBlock:
    """Build a block.  Only the decoder's, which join a skip connection, change the channels and need the mixing."""
    if inputs == outputs:
        return ResBlock(inputs, outputs, embedding, EfficientConvolution)
    return ResBlock(inputs, outputs, embedding, partial(EfficientConvolution, mixes=True, runs=runs))
